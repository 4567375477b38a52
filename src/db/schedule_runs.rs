//! What became of each slot of a schedule.
