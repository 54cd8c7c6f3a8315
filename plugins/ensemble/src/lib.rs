//! The survey's fourth family, ensemble learning: outputs combined rather than weights.
