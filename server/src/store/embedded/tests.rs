//! What is true of this store only.
