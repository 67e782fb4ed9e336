//! Lines on standard error. Where it cannot be written nobody hears them, and the work goes on.

/// `eprintln!` without its panic.
macro_rules! say {
    ($($words:tt)*) => {{
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("{}\n", format_args!($($words)*)),
        );
    }};
}
