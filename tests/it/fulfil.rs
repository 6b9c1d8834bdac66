//! One attempt at one request, with and without faults at each step.

mod attempts;
mod checksum;
mod cut;
mod encryption;
mod faults;
mod files;
mod one_request;
mod presign;
mod races;
mod upload;
