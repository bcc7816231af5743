//! A second engine of this test's own, to which images are copied.
