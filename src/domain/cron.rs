//! Cron expressions: when the next runs are, in any time zone, through every change of its clocks.
