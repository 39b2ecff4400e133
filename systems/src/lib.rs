//! The verbs of the Starling world: systems by feature, in the order of the tick.
pub mod fold;
