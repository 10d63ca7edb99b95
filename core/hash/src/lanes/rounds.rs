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
            ($t:expr, $i:expr, $a:ident $b:ident $c:ident $d:ident
             $e:ident $f:ident $g:ident $h:ident) => {
                let x = xor3(rotate_right::<6>($e), rotate_right::<11>($e), rotate_right::<25>($e));
                let y = xor3(rotate_right::<2>($a), rotate_right::<13>($a), rotate_right::<22>($a));
                let k = splat($crate::lanes::rounds::SHA256_K[$t + $i]);
                let sum = add(add($h, add($w[$i], k)), add(choose($e, $f, $g), x));
                $d = add($d, sum);
                $h = add(sum, add(y, majority($a, $b, $c)));
            };
        }
        for t in [0, 16, 32, 48] {
            if t > 0 {
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
            round!(t, 0, a b c d e f g h);
            round!(t, 1, h a b c d e f g);
            round!(t, 2, g h a b c d e f);
            round!(t, 3, f g h a b c d e);
            round!(t, 4, e f g h a b c d);
            round!(t, 5, d e f g h a b c);
            round!(t, 6, c d e f g h a b);
            round!(t, 7, b c d e f g h a);
            round!(t, 8, a b c d e f g h);
            round!(t, 9, h a b c d e f g);
            round!(t, 10, g h a b c d e f);
            round!(t, 11, f g h a b c d e);
            round!(t, 12, e f g h a b c d);
            round!(t, 13, d e f g h a b c);
            round!(t, 14, c d e f g h a b);
            round!(t, 15, b c d e f g h a);
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

/// The round constants of SHA-256 (FIPS 180-4 §4.2.2).
pub(in crate::lanes) static SHA256_K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];
