//! Bytes as hexadecimal digits (RFC 4648 section 8).

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Two lower-case digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The bytes of such digits, in upper or lower case. `None`: something else is among them, or their number is odd.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |letter: u8| char::from(letter).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(hex(&[0, 1, 0x7f, 0xab, 0xff]), "00017fabff");
        assert_eq!(unhex(&hex(&all)), Some(all.clone()));
        assert_eq!(unhex(&hex(&all).to_ascii_uppercase()), Some(all));
        assert_eq!((hex(&[]), unhex("")), (String::new(), Some(vec![])));
    }

    #[test]
    fn nothing_else_is_read() {
        for wrong in ["0", "000", "0g", "+1", " 1", "0x", "é", "aé", "éa"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
