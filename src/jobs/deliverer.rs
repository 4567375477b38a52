//! The deliverer: sends queued notices, and looks for conditions that people have to be told of.
