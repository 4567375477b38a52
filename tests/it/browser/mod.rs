//! The pages in a real browser: headless Chromium, driven by chromedriver.

mod driver;
mod gallery;
mod journey;
