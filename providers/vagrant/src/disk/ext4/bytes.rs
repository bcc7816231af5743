//! Little-endian fields at fixed places.

/// A structure of the disk.
#[derive(Debug, Clone)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn zeroes(len: usize) -> Self {
        Self(vec![0; len])
    }

    /// Writes bytes at a place; what does not fit is a defect that the tests would find.
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        } else {
            debug_assert!(false, "{at} and {} bytes are outside of {}", bytes.len(), self.0.len());
        }
    }

    pub(super) fn u8(&mut self, at: usize, value: u8) {
        self.put(at, &[value]);
    }

    pub(super) fn u16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    /// As the journal wants it.
    pub(super) fn u32_be(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_be_bytes());
    }
}

/// The lower half.
pub(super) fn low(value: u32) -> u16 {
    (value & 0xffff) as u16
}

/// The upper half.
pub(super) fn high(value: u32) -> u16 {
    (value >> 16) as u16
}
