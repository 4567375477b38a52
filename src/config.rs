//! Configuration: environment and optional config.json, read once, every problem listed at once.
