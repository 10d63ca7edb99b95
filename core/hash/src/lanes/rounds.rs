//! The rounds of SHA-1 and SHA-256 (FIPS 180-4 §6), written once for all vector widths.
//!
//! A module that uses these has, for its vector type `V`: `splat`, `add`, `rotate_left`,
//! `rotate_right`, `shift_right`, `xor3`, `choose`, `majority`. Macros and not generic functions,
//! because a generic function cannot take on the caller's target features.

/// One SHA-1 compression: `$state` is `[V; 5]`, `$w` the block's 16 words as `[V; 16]`.
macro_rules! sha1_rounds {
    ($state:ident, $w:ident) => {{
        let [mut a, mut b, mut c, mut d, mut e] = $state;

        macro_rules! word {
            ($t:expr) => {{
                const T: usize = $t;
                if T >= 16 {
                    let mix = xor3($w[(T + 13) % 16], $w[(T + 8) % 16], $w[(T + 2) % 16]);
                    $w[T % 16] = rotate_left::<1>(xor(mix, $w[T % 16]));
                }
                $w[T % 16]
            }};
        }
        // The names move round instead of the values; after five rounds they are home again.
        macro_rules! round {
            ($f:ident, $k:ident, $t:expr, $a:ident $b:ident $c:ident $d:ident $e:ident) => {
                let sum = add(add($e, add(word!($t), $k)), $f($b, $c, $d));
                $e = add(sum, rotate_left::<5>($a));
                $b = rotate_left::<30>($b);
            };
        }
        macro_rules! five_rounds {
            ($f:ident, $k:ident, $t:expr) => {
                round!($f, $k, $t, a b c d e);
                round!($f, $k, $t + 1, e a b c d);
                round!($f, $k, $t + 2, d e a b c);
                round!($f, $k, $t + 3, c d e a b);
                round!($f, $k, $t + 4, b c d e a);
            };
        }
        macro_rules! twenty_rounds {
            ($f:ident, $k:expr, $t:expr) => {
                let k = splat($k);
                five_rounds!($f, k, $t);
                five_rounds!($f, k, $t + 5);
                five_rounds!($f, k, $t + 10);
                five_rounds!($f, k, $t + 15);
            };
        }
        twenty_rounds!(choose, 0x5a82_7999, 0);
        twenty_rounds!(xor3, 0x6ed9_eba1, 20);
        twenty_rounds!(majority, 0x8f1b_bcdc, 40);
        twenty_rounds!(xor3, 0xca62_c1d6, 60);

        [
            add($state[0], a),
            add($state[1], b),
            add($state[2], c),
            add($state[3], d),
            add($state[4], e),
        ]
    }};
}

/// One SHA-256 compression: `$state` is `[V; 8]`, `$w` the block's 16 words as `[V; 16]`.
macro_rules! sha256_rounds {
    ($state:ident, $w:ident) => {{
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = $state;

        macro_rules! word {
            ($t:expr) => {{
                const T: usize = $t;
                let x = $w[(T + 1) % 16];
                let y = $w[(T + 14) % 16];
                let x = xor3(rotate_right::<7>(x), rotate_right::<18>(x), shift_right::<3>(x));
                let y = xor3(rotate_right::<17>(y), rotate_right::<19>(y), shift_right::<10>(y));
                $w[T] = add(add($w[T], $w[(T + 9) % 16]), add(x, y));
            }};
        }
        macro_rules! round {
            ($k:ident, $i:expr, $a:ident $b:ident $c:ident $d:ident
             $e:ident $f:ident $g:ident $h:ident) => {
                let x = xor3(rotate_right::<6>($e), rotate_right::<11>($e), rotate_right::<25>($e));
                let y = xor3(rotate_right::<2>($a), rotate_right::<13>($a), rotate_right::<22>($a));
                let sum = add(add($h, add($w[$i], splat($k[$i]))), add(choose($e, $f, $g), x));
                $d = add($d, sum);
                $h = add(sum, add(y, majority($a, $b, $c)));
            };
        }
        for (sixteen, k) in $crate::lanes::rounds::SHA256_K.iter().enumerate() {
            if sixteen > 0 {
                word!(0);
                word!(1);
                word!(2);
                word!(3);
                word!(4);
                word!(5);
                word!(6);
                word!(7);
                word!(8);
                word!(9);
                word!(10);
                word!(11);
                word!(12);
                word!(13);
                word!(14);
                word!(15);
            }
            round!(k, 0, a b c d e f g h);
            round!(k, 1, h a b c d e f g);
            round!(k, 2, g h a b c d e f);
            round!(k, 3, f g h a b c d e);
            round!(k, 4, e f g h a b c d);
            round!(k, 5, d e f g h a b c);
            round!(k, 6, c d e f g h a b);
            round!(k, 7, b c d e f g h a);
            round!(k, 8, a b c d e f g h);
            round!(k, 9, h a b c d e f g);
            round!(k, 10, g h a b c d e f);
            round!(k, 11, f g h a b c d e);
            round!(k, 12, e f g h a b c d);
            round!(k, 13, d e f g h a b c);
            round!(k, 14, c d e f g h a b);
            round!(k, 15, b c d e f g h a);
        }
        [
            add($state[0], a),
            add($state[1], b),
            add($state[2], c),
            add($state[3], d),
            add($state[4], e),
            add($state[5], f),
            add($state[6], g),
            add($state[7], h),
        ]
    }};
}

/// A kernel: loads the lanes' words, runs the blocks, stores the words.
macro_rules! kernel {
    ($name:ident, $words:literal, $rounds:ident, $features:literal, $doc:literal) => {
        #[doc = $doc]
        ///
        /// # Safety
        /// The CPU has the features, and the input of each lane holds `blocks` blocks of 64 bytes.
        #[target_feature(enable = $features)]
        pub(in crate::lanes) unsafe fn $name(
            words: &mut $crate::lanes::LaneWords<$words>,
            inputs: &[&[u8]; $crate::lanes::WIDE],
            blocks: usize,
        ) {
            let mut state = [splat(0); $words];
            for (state, words) in state.iter_mut().zip(words.iter()) {
                *state = load_words(words);
            }
            for block in 0..blocks {
                // SAFETY: the caller gives inputs of `blocks` blocks, and `block` is less.
                let mut w = unsafe { load_block(inputs, block * $crate::state::BLOCK) };
                state = $rounds!(state, w);
            }
            for (words, state) in words.iter_mut().zip(state) {
                store_words(words, state);
            }
        }
    };
}

/// The round constants of SHA-256 (FIPS 180-4 §4.2.2), sixteen rounds at a time.
#[rustfmt::skip]
pub(in crate::lanes) static SHA256_K: [[u32; 16]; 4] = [
    [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    ],
    [
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    ],
    [
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    ],
    [
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ],
];
