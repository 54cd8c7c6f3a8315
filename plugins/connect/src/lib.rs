//! The survey's first family, mode connectivity: paths between models, and how they are found.
