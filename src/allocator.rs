//! The allocator, and how it gives memory back.

/// The allocator of every program here: logins allocate and free small things on different threads.
pub use mimalloc::MiMalloc;

/// Gives memory that is free back to the system: after a recovery or a generation much of it is.
#[expect(unsafe_code, reason = "the allocator's own C function")]
pub fn give_back() {
    // SAFETY: `mi_collect` may be called by any thread at any time and touches only memory that is free; the linked
    // library is the one that `MiMalloc` allocates from, and if it were not, it would have nothing to collect.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
