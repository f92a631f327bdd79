//! How much memory the codebooks of a Vorbis file take.
//!
//! A codebook of 30 bytes may stand for a table of 16 MiB, and a file may have 256 of them. Encoders write some dozens,
//! with some ten thousand numbers together. So the numbers are counted before tables are made of them: Vorbis I
//! specification, section 3.2.1.

/// Most entries of all codebooks together, and most numbers in their tables: libvorbis's largest come to a quarter.
const MOST_ENTRIES: u64 = 1 << 16;
const MOST_NUMBERS: u64 = 1 << 18;

/// First bytes of the setup header.
const SETUP: &[u8] = b"\x05vorbis";

/// First bits of a codebook.
const SYNC: u32 = 0x0056_4342;

/// Whether the tables of the codebooks in these headers are small enough. Headers that make no sense are left to the
/// decoder.
pub(super) fn is_modest(headers: &[u8]) -> bool {
    let Some(start) = headers.windows(SETUP.len()).position(|it| it == SETUP) else {
        return true;
    };
    let mut bits = Bits {
        bytes: &headers[start + SETUP.len()..],
        position: 0,
    };
    let Some(count) = bits.read(8) else {
        return true;
    };
    let (mut entries, mut numbers) = (0, 0);
    for _ in 0..=count {
        let Some(book) = bits.codebook() else {
            break;
        };
        entries += book.entries;
        numbers += book.numbers;
        if entries > MOST_ENTRIES || numbers > MOST_NUMBERS {
            return false;
        }
    }
    true
}

/// The size of a codebook.
#[derive(Debug, PartialEq, Eq)]
struct Codebook {
    entries: u64,
    /// Numbers in its table.
    numbers: u64,
}

/// Reads bits, the lowest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Bits<'_> {
    /// The next bits, at most 32; `None` at the end.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for place in 0..count {
            let byte = self.bytes.get(self.position / 8)?;
            let bit = u32::from(byte >> (self.position % 8) & 1);
            value |= bit << place;
            self.position += 1;
        }
        Some(value)
    }

    fn skip(&mut self, bits: u64) {
        let bits = usize::try_from(bits).unwrap_or(usize::MAX);
        self.position = self.position.saturating_add(bits);
    }

    /// The next codebook; `None` if there is none.
    fn codebook(&mut self) -> Option<Codebook> {
        if self.read(24)? != SYNC {
            return None;
        }
        let dimensions = self.read(16)?;
        let entries = self.read(24)?;
        self.skip_lengths(entries)?;
        let lookup = self.read(4)?;
        let numbers = u64::from(entries) * u64::from(dimensions);
        let book = |numbers| Codebook {
            entries: entries.into(),
            numbers,
        };
        let multiplicands = match lookup {
            0 => return Some(book(0)),
            1 => root(entries, dimensions).into(),
            _ => numbers,
        };
        self.skip(64);
        let width = self.read(4)? + 1;
        self.skip(1 + multiplicands * u64::from(width));
        Some(book(numbers))
    }

    /// Skips the lengths of `entries` code words.
    fn skip_lengths(&mut self, entries: u32) -> Option<()> {
        let is_ordered = self.read(1)? == 1;
        if is_ordered {
            self.skip(5);
            let mut left = entries;
            while left > 0 {
                let of_this_length = self.read(u32::BITS - left.leading_zeros())?;
                left = left.checked_sub(of_this_length)?;
            }
            return Some(());
        }
        let is_sparse = self.read(1)? == 1;
        for _ in 0..entries {
            if !is_sparse || self.read(1)? == 1 {
                self.read(5)?;
            }
        }
        Some(())
    }
}

/// The largest number whose `dimensions`th power is at most `entries`.
fn root(entries: u32, dimensions: u32) -> u32 {
    let fits = |root: u32| {
        u64::from(root)
            .checked_pow(dimensions)
            .is_some_and(|power| power <= entries.into())
    };
    // The second and every higher root of a number of 24 bits is below 4096.
    let most = if dimensions <= 1 { entries } else { 4096 };
    let (mut least, mut beyond) = (1, most + 1);
    while beyond - least > 1 {
        let middle = least.midpoint(beyond);
        if fits(middle) {
            least = middle;
        } else {
            beyond = middle;
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bits as [`Bits`] reads them.
    fn written(numbers: &[(u32, u32)]) -> Vec<u8> {
        let bits = numbers
            .iter()
            .flat_map(|(value, count)| (0..*count).map(move |place| value >> place & 1 == 1));
        let bits: Vec<bool> = bits.collect();
        let byte = |bits: &[bool]| {
            let bits = bits.iter().enumerate();
            bits.fold(0, |byte, (place, bit)| byte | u8::from(*bit) << place)
        };
        bits.chunks(8).map(byte).collect()
    }

    /// A codebook of a few bytes whose table has this many numbers.
    fn bomb(entries: u32, dimensions: u32) -> Vec<(u32, u32)> {
        let width = u32::BITS - entries.leading_zeros();
        let lengths = [(1, 1), (16, 5), (entries, width)];
        let table = [
            (1, 4),
            (0, 32),
            (0, 32),
            (0, 4),
            (0, 1),
            (0, root(entries, dimensions)),
        ];
        [
            [(SYNC, 24), (dimensions, 16), (entries, 24)].as_slice(),
            &lengths,
            &table,
        ]
        .concat()
    }

    fn headers(books: &[Vec<(u32, u32)>]) -> Vec<u8> {
        let count = u32::try_from(books.len() - 1).unwrap();
        let bits = [vec![(count, 8)], books.concat()].concat();
        [SETUP, &written(&bits)].concat()
    }

    #[test]
    fn a_few_bytes_do_not_stand_for_much_memory() {
        let bomb = bomb(1 << 17, 32);
        assert!(headers(std::slice::from_ref(&bomb)).len() < 60);
        assert!(!is_modest(&headers(&[bomb])));
    }

    #[test]
    fn many_small_codebooks_are_counted_together() {
        let book = bomb(1000, 8);
        assert!(is_modest(&headers(&vec![book.clone(); 30])));
        assert!(!is_modest(&headers(&vec![book; 40])));
    }

    #[test]
    fn headers_without_sense_are_left_to_the_decoder() {
        assert!(is_modest(b""));
        assert!(is_modest(SETUP));
        assert!(is_modest(&[SETUP, &[0xff; 100]].concat()));
    }

    #[test]
    fn roots_are_rounded_down() {
        for (entries, dimensions, expected) in [
            (81, 4, 3),
            (80, 4, 2),
            (6561, 8, 3),
            (1 << 17, 32, 1),
            (10, 1, 10),
            (0, 2, 1),
        ] {
            assert_eq!(
                root(entries, dimensions),
                expected,
                "{entries}, {dimensions}"
            );
        }
    }
}
