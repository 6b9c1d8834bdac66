//! The checksums over a whole object that S3 supports. A store keeps all of them, some, or none.
//!
//! S3 has two kinds of checksum for an object uploaded in parts: one over its bytes, and one over the checksums of its
//! parts (COMPOSITE). Only the first kind proves that the object is the archive. The second is never read here.

use std::fmt;

use aws_sdk_s3::{
    operation::{
        complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder,
        head_object::HeadObjectOutput, put_object::builders::PutObjectFluentBuilder,
        upload_part::UploadPartOutput,
    },
    types::{ChecksumAlgorithm, ChecksumType, CompletedPart, builders::CompletedPartBuilder},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use crc_fast::CrcAlgorithm;

/// A checksum that can be combined over the parts of an object, so that a store can keep it of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checksum {
    /// CRC-64/NVME, `CRC64NVME` in S3.
    Crc64Nvme,
    /// CRC-32C (Castagnoli), `CRC32C` in S3.
    Crc32c,
    /// CRC-32 (ISO-HDLC), `CRC32` in S3.
    Crc32,
}

impl Checksum {
    /// All of them in order of preference: the longest, then the one that detects more errors at its length.
    pub const ALL: [Self; 3] = [Self::Crc64Nvme, Self::Crc32c, Self::Crc32];

    /// Sums up bytes that are in memory.
    pub fn of(self, bytes: &[u8]) -> Sum {
        let mut digest = Digest::new(self);
        digest.update(bytes);
        digest.finish()
    }

    /// Returns its name in the requests of S3.
    pub(crate) fn algorithm(self) -> ChecksumAlgorithm {
        match self {
            Self::Crc64Nvme => ChecksumAlgorithm::Crc64Nvme,
            Self::Crc32c => ChecksumAlgorithm::Crc32C,
            Self::Crc32 => ChecksumAlgorithm::Crc32,
        }
    }

    /// Describes a stored part, with the checksum that the store returned for it.
    pub(crate) fn completed_part(self, number: i32, output: UploadPartOutput) -> CompletedPart {
        let part = CompletedPart::builder().part_number(number).set_e_tag(output.e_tag);
        let with_checksum: CompletedPartBuilder = match self {
            Self::Crc64Nvme => part.set_checksum_crc64_nvme(output.checksum_crc64_nvme),
            Self::Crc32c => part.set_checksum_crc32_c(output.checksum_crc32_c),
            Self::Crc32 => part.set_checksum_crc32(output.checksum_crc32),
        };
        with_checksum.build()
    }

    /// Reads the sum of the whole object; none if the store has another kind of checksum, or none.
    fn read(self, output: &HeadObjectOutput) -> Option<Sum> {
        if output.checksum_type() == Some(&ChecksumType::Composite) {
            return None;
        }
        let text = match self {
            Self::Crc64Nvme => output.checksum_crc64_nvme(),
            Self::Crc32c => output.checksum_crc32_c(),
            Self::Crc32 => output.checksum_crc32(),
        };
        self.sum_of_base64(text?)
    }

    /// Reads a sum, which S3 writes as the Base64 of its big-endian bytes. A sum over the sums of parts has a suffix
    /// (`-3`), which is not Base64.
    fn sum_of_base64(self, text: &str) -> Option<Sum> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        let value = match self {
            Self::Crc64Nvme => u64::from_be_bytes(bytes.try_into().ok()?),
            Self::Crc32c | Self::Crc32 => u32::from_be_bytes(bytes.try_into().ok()?).into(),
        };
        Some(Sum { checksum: self, value })
    }

    fn crc(self) -> CrcAlgorithm {
        match self {
            Self::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
            Self::Crc32c => CrcAlgorithm::Crc32Iscsi,
            Self::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        }
    }

    /// Returns the length of a sum in bytes.
    fn width(self) -> usize {
        match self {
            Self::Crc64Nvme => 8,
            Self::Crc32c | Self::Crc32 => 4,
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crc64Nvme => "CRC-64/NVME",
            Self::Crc32c => "CRC-32C",
            Self::Crc32 => "CRC-32",
        })
    }
}

/// Reads every sum of the whole object that a store returned with it.
pub(super) fn read_all(output: &HeadObjectOutput) -> Vec<Sum> {
    Checksum::ALL.iter().filter_map(|checksum| checksum.read(output)).collect()
}

/// The sum of some bytes, and which checksum it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    checksum: Checksum,
    value: u64,
}

impl Sum {
    /// Returns which checksum it is.
    pub fn checksum(self) -> Checksum {
        self.checksum
    }

    /// Lets the store compare it with the object that a put stores.
    pub(crate) fn of_put(self, put: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        match self.checksum {
            Checksum::Crc64Nvme => put.checksum_crc64_nvme(self.base64()),
            Checksum::Crc32c => put.checksum_crc32_c(self.base64()),
            Checksum::Crc32 => put.checksum_crc32(self.base64()),
        }
    }

    /// Lets the store compare it with the object that it assembles from parts.
    pub(crate) fn of_complete(
        self,
        complete: CompleteMultipartUploadFluentBuilder,
    ) -> CompleteMultipartUploadFluentBuilder {
        match self.checksum {
            Checksum::Crc64Nvme => complete.checksum_crc64_nvme(self.base64()),
            Checksum::Crc32c => complete.checksum_crc32_c(self.base64()),
            Checksum::Crc32 => complete.checksum_crc32(self.base64()),
        }
    }

    fn base64(self) -> String {
        let bytes = self.value.to_be_bytes();
        BASE64_STANDARD.encode(&bytes[bytes.len() - self.checksum.width()..])
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:0digits$x}", self.checksum, self.value, digits = 2 * self.checksum.width())
    }
}

/// Sums up bytes as they come.
pub(crate) struct Digest {
    checksum: Checksum,
    crc: crc_fast::Digest,
}

impl Digest {
    pub(crate) fn new(checksum: Checksum) -> Self {
        Self { checksum, crc: crc_fast::Digest::new(checksum.crc()) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
    }

    pub(crate) fn finish(self) -> Sum {
        Sum { checksum: self.checksum, value: self.crc.finalize() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of each checksum: the sum of the text 123456789, in hex and as S3 writes it.
    const CHECKS: [(Checksum, &str, &str); 3] = [
        (Checksum::Crc64Nvme, "CRC-64/NVME ae8b14860a799888", "rosUhgp5mIg="),
        (Checksum::Crc32c, "CRC-32C e3069283", "4waSgw=="),
        (Checksum::Crc32, "CRC-32 cbf43926", "y/Q5Jg=="),
    ];

    fn head(checksum: Checksum, text: &str) -> HeadObjectOutput {
        let head = HeadObjectOutput::builder();
        match checksum {
            Checksum::Crc64Nvme => head.checksum_crc64_nvme(text),
            Checksum::Crc32c => head.checksum_crc32_c(text),
            Checksum::Crc32 => head.checksum_crc32(text),
        }
        .build()
    }

    #[test]
    fn each_checksum_has_its_known_check_value() {
        for (checksum, hex, base64) in CHECKS {
            let sum = checksum.of(b"123456789");
            assert_eq!((sum.to_string().as_str(), sum.base64().as_str()), (hex, base64));
            assert_eq!(read_all(&head(checksum, base64)), [sum]);
        }
    }

    #[test]
    fn a_sum_that_begins_with_zeros_keeps_its_width() {
        let sum = Sum { checksum: Checksum::Crc32c, value: 0x2a };
        assert_eq!((sum.to_string().as_str(), sum.base64().as_str()), ("CRC-32C 0000002a", "AAAAKg=="));
    }

    #[test]
    fn bytes_that_come_in_pieces_have_the_sum_of_the_whole() {
        for checksum in Checksum::ALL {
            let mut digest = Digest::new(checksum);
            digest.update(b"1234");
            digest.update(b"56789");
            assert_eq!(digest.finish(), checksum.of(b"123456789"));
            assert_ne!(checksum.of(b"123456780"), checksum.of(b"123456789"));
        }
    }

    #[test]
    fn a_sum_over_the_sums_of_parts_is_not_taken_for_one_of_the_whole() {
        for (checksum, _, base64) in CHECKS {
            assert_eq!(read_all(&head(checksum, &format!("{base64}-3"))), []);
            let mut composite = head(checksum, base64);
            composite.checksum_type = Some(ChecksumType::Composite);
            assert_eq!(read_all(&composite), []);
            // The control: the same sum, declared as a sum of the whole object.
            composite.checksum_type = Some(ChecksumType::FullObject);
            assert_eq!(read_all(&composite).len(), 1);
        }
    }

    #[test]
    fn a_sum_of_another_length_is_none() {
        for (checksum, text) in [
            (Checksum::Crc64Nvme, "y/Q5Jg=="),
            (Checksum::Crc32c, "rosUhgp5mIg="),
            (Checksum::Crc32, "rosU"),
            (Checksum::Crc32, ""),
        ] {
            assert_eq!(read_all(&head(checksum, text)), [], "{checksum}: {text}");
        }
    }
}
