//! Testing (begun).
