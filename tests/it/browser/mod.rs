//! The pages in a real browser: headless Chromium, driven by chromedriver.

mod compare;
mod connections;
mod driver;
mod gallery;
mod journey;
mod schedules;
