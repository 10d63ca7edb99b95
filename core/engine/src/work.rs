//! Where work is done that may block: on threads; or, in a simulated world (feature `sim`), when the
//! world says so, on its one thread.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{runtime::Handle, task::JoinHandle};

/// The result of work under way; an error if it panicked, or if the runtime ended before it began.
pub(crate) enum Work<T> {
    Thread(JoinHandle<T>),
    #[cfg(feature = "sim")]
    Turn(tokio::sync::oneshot::Receiver<T>),
}

impl<T> Future for Work<T> {
    type Output = io::Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        match self.get_mut() {
            Work::Thread(handle) => Pin::new(handle).poll(context).map_err(io::Error::other),
            #[cfg(feature = "sim")]
            Work::Turn(answer) => Pin::new(answer).poll(context).map_err(io::Error::other),
        }
    }
}

/// Does work on a thread of the runtime that this is called in.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Work<T> {
    #[cfg(feature = "sim")]
    if is_by_hand() {
        return by_hand::put(work);
    }
    Work::Thread(Handle::current().spawn_blocking(work))
}

/// Does work on a thread of this runtime.
pub(crate) fn spawn_on<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> T + Send + 'static,
) -> Work<T> {
    let _guard = runtime.enter();
    spawn(work)
}

/// Whether there are no threads for it.
#[cfg(not(feature = "sim"))]
pub(crate) const fn is_by_hand() -> bool {
    false
}

#[cfg(feature = "sim")]
pub(crate) use by_hand::{Line, is_by_hand};

/// Work in line, for whoever says when its turn is.
#[cfg(feature = "sim")]
mod by_hand {
    use super::Work;
    use std::{cell::RefCell, collections::VecDeque, rc::Rc};
    use tokio::sync::oneshot;

    type Job = Box<dyn FnOnce()>;

    thread_local! {
        static LINE: RefCell<Option<Line>> = const { RefCell::new(None) };
    }

    /// What a process has put in line. Clones are the same line.
    #[derive(Clone, Default)]
    pub(crate) struct Line(Rc<RefCell<VecDeque<Job>>>);

    impl Line {
        /// Lets code run that puts its work in this line.
        pub(crate) fn within<R>(&self, code: impl FnOnce() -> R) -> R {
            /// Puts the former line back, also after a panic.
            struct Before(Option<Line>);
            impl Drop for Before {
                fn drop(&mut self) {
                    LINE.set(self.0.take());
                }
            }
            let _before = Before(LINE.replace(Some(self.clone())));
            code()
        }

        /// Takes out what comes next.
        pub(crate) fn next(&self) -> Option<Job> {
            self.0.borrow_mut().pop_front()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0.borrow().is_empty()
        }
    }

    pub(crate) fn is_by_hand() -> bool {
        LINE.with_borrow(Option::is_some)
    }

    pub(super) fn put<T: 'static>(work: impl FnOnce() -> T + 'static) -> Work<T> {
        let (answer, receiver) = oneshot::channel();
        LINE.with_borrow(|line| {
            let line = line.as_ref().expect("whoever asked has seen it");
            // Who asked may have stopped waiting.
            line.0.borrow_mut().push_back(Box::new(move || _ = answer.send(work())));
        });
        Work::Turn(receiver)
    }
}
