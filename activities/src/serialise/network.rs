//! `inet` and `cidr`, written as PostgreSQL writes them.

use std::fmt::Write as _;

use super::value::{Shape, Unreadable, fixed};

/// PostgreSQL's own numbers for the families, the same on every platform.
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;

pub(super) fn push_inet(bytes: &[u8], out: &mut String) -> Result<Shape, Unreadable> {
    let [family, bits, is_cidr, length, address @ ..] = bytes else { return Err(Unreadable) };
    if usize::from(*length) != address.len() {
        return Err(Unreadable);
    }
    let whole = match *family {
        FAMILY_V4 => {
            push_v4(fixed(address)?, out);
            32
        }
        FAMILY_V6 => {
            push_v6(fixed(address)?, out);
            128
        }
        _ => return Err(Unreadable),
    };
    if *bits > whole {
        return Err(Unreadable);
    }
    // A host address of type `inet` is written without its mask. A network of type `cidr` always has it.
    if *bits != whole || *is_cidr != 0 {
        // Writing to a string cannot fail.
        let _ = write!(out, "/{bits}");
    }
    Ok(Shape::Quoted)
}

fn push_v4([a, b, c, d]: [u8; 4], out: &mut String) {
    let _ = write!(out, "{a}.{b}.{c}.{d}");
}

/// The first longest run of at least two zero groups becomes `::`.
fn push_v6(address: [u8; 16], out: &mut String) {
    let mut groups = [0u16; 8];
    for (group, pair) in groups.iter_mut().zip(address.chunks_exact(2)) {
        *group = u16::from_be_bytes([pair[0], pair[1]]);
    }
    let (start, length) = longest_zero_run(&groups);
    let embeds_v4 = start == 0
        && (length == 6 || (length == 7 && groups[7] != 1) || (length == 5 && groups[5] == 0xffff));
    let mut index = 0;
    while index < groups.len() {
        if length > 0 && (start..start + length).contains(&index) {
            if index == start {
                out.push(':');
            }
            index += 1;
            continue;
        }
        if index > 0 {
            out.push(':');
        }
        if index == 6 && embeds_v4 {
            push_v4([address[12], address[13], address[14], address[15]], out);
            return;
        }
        let _ = write!(out, "{:x}", groups[index]);
        index += 1;
    }
    if length > 0 && start + length == groups.len() {
        out.push(':');
    }
}

fn longest_zero_run(groups: &[u16; 8]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut index = 0;
    while index < groups.len() {
        let length = groups[index..].iter().take_while(|&&group| group == 0).count();
        if length > best.1 {
            best = (index, length);
        }
        index += length.max(1);
    }
    if best.1 >= 2 { best } else { (0, 0) }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn v6(text: &str) -> String {
        let address: Ipv6Addr = text.parse().unwrap();
        let mut out = String::new();
        push_v6(address.octets(), &mut out);
        out
    }

    #[test]
    fn zero_groups_are_shortened_once() {
        for text in ["::", "::1", "1::", "1:0:2::3", "2001:db8::1:0:0:1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4"]
        {
            assert_eq!(v6(text), text);
        }
    }

    #[test]
    fn a_mask_is_shown_unless_it_is_a_whole_inet() {
        let text = |bytes: &[u8]| {
            let mut out = String::new();
            push_inet(bytes, &mut out).map(|_| out)
        };
        assert_eq!(text(&[2, 32, 0, 4, 10, 0, 0, 1]).unwrap(), "10.0.0.1");
        assert_eq!(text(&[2, 32, 1, 4, 10, 0, 0, 1]).unwrap(), "10.0.0.1/32");
        assert_eq!(text(&[2, 8, 0, 4, 10, 0, 0, 1]).unwrap(), "10.0.0.1/8");
        assert_eq!(text(&[2, 33, 0, 4, 10, 0, 0, 1]), Err(Unreadable));
        assert_eq!(text(&[9, 32, 0, 4, 10, 0, 0, 1]), Err(Unreadable));
        assert_eq!(text(&[2, 32, 0, 16, 10, 0, 0, 1]), Err(Unreadable));
    }
}
