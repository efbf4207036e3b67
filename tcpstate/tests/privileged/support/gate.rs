//! A reader that can be told to stop reading.

use std::{
    io::{self, Read},
    sync::{Arc, Condvar, Mutex, PoisonError},
};

/// Opens and closes a [`GatedReader`].
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Stops the reader before its next read.
    pub(crate) fn close(&self) {
        self.set(true);
    }

    pub(crate) fn open(&self) {
        self.set(false);
    }

    fn set(&self, closed: bool) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = closed;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let closed = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_while(closed, |closed| *closed));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // A test that failed must not leave its reader waiting.
        self.open();
    }
}

/// Reads while its gate is open.
pub(crate) struct GatedReader<R> {
    pub(crate) inner: R,
    pub(crate) gate: Gate,
}

impl<R: Read> Read for GatedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.gate.pass();
        self.inner.read(buffer)
    }
}
