//! Which driver a ring gets.

use crate::{DriverChoice, RingConfig, driver::Driver, mio_driver::MioDriver, uring::UringDriver};
use std::{io, sync::Once};

/// No driver could be started.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// io_uring was demanded and refused.
    #[error("io_uring is refused: {error}; {remedy}")]
    UringRefused {
        /// What the kernel said.
        error: io::Error,
        /// What the operator can do.
        remedy: &'static str,
    },
    /// epoll could not be set up.
    #[error("the mio driver cannot start: {0}")]
    MioFailed(io::Error),
}

pub(crate) fn start(config: &RingConfig) -> Result<Box<dyn Driver>, DriverError> {
    match config.driver {
        DriverChoice::Mio => mio(config),
        DriverChoice::Uring => {
            let driver = UringDriver::new(config).map_err(|error| {
                let remedy = remedy(&error);
                DriverError::UringRefused { error, remedy }
            })?;
            Ok(Box::new(driver))
        }
        DriverChoice::Auto => match UringDriver::new(config) {
            Ok(driver) => Ok(Box::new(driver)),
            Err(error) => {
                // One line for the process, not one for each shard.
                static SAID: Once = Once::new();
                SAID.call_once(|| {
                    tracing::warn!(
                        "io_uring is refused ({error}), using the mio driver instead; {}",
                        remedy(&error)
                    );
                });
                mio(config)
            }
        },
    }
}

fn mio(config: &RingConfig) -> Result<Box<dyn Driver>, DriverError> {
    Ok(Box::new(MioDriver::new(config).map_err(DriverError::MioFailed)?))
}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            "allow the io_uring_* system calls in the container's seccomp profile, or set \
             kernel.io_uring_disabled=0 (sysctl)"
        }
        Some(libc::ENOSYS) => "the kernel was built without io_uring, or a sandbox hides it",
        Some(libc::ENOMEM) => "raise the limit on locked memory (ulimit -l, LimitMEMLOCK=)",
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit on open files (ulimit -n)",
        Some(libc::EINVAL | libc::EOPNOTSUPP) => "Linux 6.1 or newer is needed",
        _ => "see io_uring_setup(2)",
    }
}
