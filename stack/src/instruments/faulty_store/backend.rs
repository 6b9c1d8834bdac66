//! `s3s-fs`, with the parts of S3 that it lacks and an upload needs: the checksum of a whole multipart object, compared
//! when it is completed, and the list of unfinished uploads.
//!
//! As in S3, an object has only the checksum with which it was uploaded. A test can remove the support of a checksum.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::anyhow;
use export_activities::store::Checksum;
use futures::TryStreamExt as _;
use hyper::{HeaderMap, Method, Uri, http::Extensions};
use s3s::{
    S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    checksum::ChecksumHasher,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
        CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CreateMultipartUploadInput,
        CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput,
        GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, GetObjectInput,
        GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
        LifecycleRules, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsV2Input,
        ListObjectsV2Output, MultipartUpload, PutBucketLifecycleConfigurationInput,
        PutBucketLifecycleConfigurationOutput, PutObjectInput, PutObjectOutput, ServerSideEncryption,
        StreamingBlob, Timestamp, UploadPartInput, UploadPartOutput,
    },
    s3_error,
};
use s3s_fs::FileSystem;

/// The field of a message that holds this checksum.
macro_rules! sum_of {
    ($message:expr, $checksum:expr) => {
        match $checksum {
            Checksum::Crc64Nvme => &mut $message.checksum_crc64nvme,
            Checksum::Crc32c => &mut $message.checksum_crc32c,
            Checksum::Crc32 => &mut $message.checksum_crc32,
        }
    };
}

/// How a store handles a checksum that it does not keep for whole objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It ignores the checksum.
    Ignored,
    /// It answers each call that names it with 501 `NotImplemented`.
    Refused,
    /// For an object uploaded in parts it keeps the sum over the sums of the parts, whatever the call asks for.
    Composite,
}

/// How a store treats the encryption that an upload asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encrypts {
    /// It names it with the object, as S3 does.
    #[default]
    AsAsked,
    /// It ignores it without a word.
    Not,
    /// It refuses the upload with 501 `NotImplemented`.
    Refuses,
    /// It names another algorithm, or another key.
    With(&'static str, Option<&'static str>),
}

/// The algorithm and the key of an object.
type Encrypted = (Option<ServerSideEncryption>, Option<String>);

#[derive(Clone)]
pub(super) struct Backend {
    files: Arc<FileSystem>,
    /// The unfinished uploads, by their ids.
    uploads: Arc<Mutex<BTreeMap<String, Begun>>>,
    /// The checksum with which each object was uploaded, by its key.
    kept: Arc<Mutex<BTreeMap<String, Kept>>>,
    unknown: Arc<Mutex<BTreeMap<Checksum, Unknown>>>,
    encrypts: Arc<Mutex<Encrypts>>,
    /// The encryption of each object, by its key.
    encrypted: Arc<Mutex<BTreeMap<String, Encrypted>>>,
    /// The rules of the bucket. It keeps them, and deletes nothing.
    lifecycle: Arc<Mutex<Option<LifecycleRules>>>,
}

struct Begun {
    key: String,
    at: Timestamp,
    checksum: Option<Checksum>,
}

#[derive(Clone, Copy)]
struct Kept {
    checksum: Checksum,
    in_parts: bool,
}

impl Backend {
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let files = FileSystem::new(folder).map_err(|error| anyhow!("s3s-fs does not start: {error:?}"))?;
        let (uploads, kept, unknown) = (Arc::default(), Arc::default(), Arc::default());
        let (encrypts, encrypted, lifecycle) = (Arc::default(), Arc::default(), Arc::default());
        Ok(Self { files: Arc::new(files), uploads, kept, unknown, encrypts, encrypted, lifecycle })
    }

    pub(super) fn unfinished_uploads(&self) -> Vec<String> {
        self.uploads().values().map(|begun| begun.key.clone()).collect()
    }

    pub(super) fn forget(&self, checksum: Checksum, unknown: Unknown) {
        lock(&self.unknown).insert(checksum, unknown);
    }

    pub(super) fn encrypt(&self, how: Encrypts) {
        *lock(&self.encrypts) = how;
    }

    /// Notes with which encryption an object is stored.
    fn note(&self, key: &str, asked: Encrypted) -> S3Result<()> {
        let stored = match &*lock(&self.encrypts) {
            _ if asked.0.is_none() => (None, None),
            Encrypts::AsAsked => asked,
            Encrypts::Not => (None, None),
            Encrypts::Refuses => return Err(s3_error!(NotImplemented)),
            Encrypts::With(algorithm, key) => {
                (Some(ServerSideEncryption::from_static(algorithm)), key.map(str::to_owned))
            }
        };
        lock(&self.encrypted).insert(key.to_owned(), stored);
        Ok(())
    }

    /// Returns the checksum that a call asks for, if this store supports it.
    fn known(&self, asked: Option<Checksum>) -> S3Result<Option<Checksum>> {
        let Some(checksum) = asked else { return Ok(None) };
        match lock(&self.unknown).get(&checksum) {
            None | Some(Unknown::Composite) => Ok(Some(checksum)),
            Some(Unknown::Ignored) => Ok(None),
            Some(Unknown::Refused) => Err(s3_error!(NotImplemented)),
        }
    }

    fn is_composite(&self, kept: Kept) -> bool {
        kept.in_parts && lock(&self.unknown).get(&kept.checksum) == Some(&Unknown::Composite)
    }

    fn keep(&self, key: String, checksum: Option<Checksum>, in_parts: bool) {
        let mut kept = lock(&self.kept);
        match checksum {
            Some(checksum) => kept.insert(key, Kept { checksum, in_parts }),
            None => kept.remove(&key),
        };
    }

    fn uploads(&self) -> MutexGuard<'_, BTreeMap<String, Begun>> {
        lock(&self.uploads)
    }

    /// Reports an ended upload as S3 does, and forgets it, because the client may have been killed before its end was
    /// noted here. `s3s-fs` reports it as an upload of another user, but there are no other users.
    fn or_gone(&self, id: &str, error: S3Error) -> S3Error {
        if !matches!(error.code(), S3ErrorCode::AccessDenied) {
            return error;
        }
        self.uploads().remove(id);
        s3_error!(NoSuchUpload)
    }

    async fn remove(&self, bucket: String, key: String) -> S3Result<()> {
        let input = DeleteObjectInput::builder().bucket(bucket).key(key).build();
        let input = input.map_err(|_| s3_error!(InternalError))?;
        self.files.delete_object(own_request(input)).await.map(drop)
    }

    /// Sums up the whole object, in the Base64 form of S3.
    async fn sum(&self, bucket: &str, key: &str, checksum: Checksum) -> S3Result<Option<String>> {
        let input = GetObjectInput::builder().bucket(bucket.to_owned()).key(key.to_owned()).build();
        let input = input.map_err(|_| s3_error!(InternalError))?;
        let output = self.files.get_object(own_request(input)).await?.output;
        let mut hasher = ChecksumHasher::default();
        match checksum {
            Checksum::Crc64Nvme => hasher.crc64nvme = Some(Default::default()),
            Checksum::Crc32c => hasher.crc32c = Some(Default::default()),
            Checksum::Crc32 => hasher.crc32 = Some(Default::default()),
        }
        let mut body = output.body.ok_or_else(|| s3_error!(InternalError))?;
        while let Some(bytes) = body.try_next().await.map_err(|_| s3_error!(InternalError))? {
            hasher.update(&bytes);
        }
        let mut sums = hasher.finalize();
        Ok(sum_of!(sums, checksum).take())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the algorithm that a call names.
fn named(algorithm: Option<&ChecksumAlgorithm>) -> Option<Checksum> {
    match algorithm?.as_str() {
        ChecksumAlgorithm::CRC64NVME => Some(Checksum::Crc64Nvme),
        ChecksumAlgorithm::CRC32C => Some(Checksum::Crc32c),
        ChecksumAlgorithm::CRC32 => Some(Checksum::Crc32),
        _ => None,
    }
}

/// Makes a request that no client has sent.
fn own_request<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: Method::GET,
        uri: Uri::default(),
        headers: HeaderMap::new(),
        extensions: Extensions::new(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

type Answer<T> = S3Result<S3Response<T>>;

/// Refuses an upload after its body is read. A caller that is still writing might miss an earlier answer.
async fn refuse<T>(refusal: S3Error, body: Option<StreamingBlob>) -> Answer<T> {
    if let Some(mut body) = body {
        while let Ok(Some(_)) = body.try_next().await {}
    }
    Err(refusal)
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let mut known = None;
        let asked = (request.input.server_side_encryption.take(), request.input.ssekms_key_id.take());
        if let Err(refusal) = self.note(&key, asked) {
            return refuse(refusal, request.input.body).await;
        }
        for checksum in Checksum::ALL {
            let sum = sum_of!(request.input, checksum);
            if sum.is_none() {
                continue;
            }
            let supported = match self.known(Some(checksum)) {
                Ok(supported) => supported,
                Err(refusal) => return refuse(refusal, request.input.body).await,
            };
            match supported {
                None => {
                    *sum = None;
                    request.input.checksum_algorithm = None;
                }
                checksum => known = checksum,
            }
        }
        match self.files.put_object(request).await {
            Ok(response) => {
                self.keep(key, known, false);
                Ok(response)
            }
            Err(error) => {
                // `s3s-fs` compares only after it has written the object.
                if matches!(error.code(), S3ErrorCode::BadDigest) {
                    self.remove(bucket, key).await?;
                }
                Err(error)
            }
        }
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        self.files.get_object(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let mut response = self.files.head_object(request).await?;
        let output = &mut response.output;
        let encrypted = lock(&self.encrypted).get(&key).cloned();
        (output.server_side_encryption, output.ssekms_key_id) = encrypted.unwrap_or_default();
        for checksum in Checksum::ALL {
            *sum_of!(output, checksum) = None;
        }
        let kept = lock(&self.kept).get(&key).copied();
        // A store did not accept a checksum that it refuses, and does not return one that it has forgotten since.
        let kept = kept.filter(|kept| matches!(self.known(Some(kept.checksum)), Ok(Some(_))));
        if let Some(kept) = kept {
            let mut sum = self.sum(&bucket, &key, kept.checksum).await?;
            let mut kind = ChecksumType::FULL_OBJECT;
            if self.is_composite(kept) {
                sum = sum.map(|sum| format!("{sum}-2"));
                kind = ChecksumType::COMPOSITE;
            }
            *sum_of!(output, kept.checksum) = sum;
            output.checksum_type = Some(ChecksumType::from_static(kind));
        }
        Ok(response)
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.files.head_bucket(request).await
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        _: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> Answer<GetBucketLifecycleConfigurationOutput> {
        let rules = lock(&self.lifecycle).clone();
        let rules = rules.ok_or_else(|| s3_error!(NoSuchLifecycleConfiguration))?;
        Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
            rules: Some(rules),
            ..Default::default()
        }))
    }

    async fn put_bucket_lifecycle_configuration(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> Answer<PutBucketLifecycleConfigurationOutput> {
        let configuration = request.input.lifecycle_configuration.ok_or_else(|| s3_error!(MalformedXML))?;
        *lock(&self.lifecycle) = Some(configuration.rules);
        Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        self.files.delete_object(request).await
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
        self.files.list_objects_v2(request).await
    }

    async fn create_multipart_upload(
        &self,
        mut request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let key = request.input.key.clone();
        let asked = (request.input.server_side_encryption.take(), request.input.ssekms_key_id.take());
        self.note(&key, asked)?;
        let checksum = self.known(named(request.input.checksum_algorithm.as_ref()))?;
        let response = self.files.create_multipart_upload(request).await?;
        if let Some(id) = response.output.upload_id.clone() {
            let at = std::time::SystemTime::now().into();
            self.uploads().insert(id, Begun { key, at, checksum });
        }
        Ok(response)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        let id = request.input.upload_id.clone();
        self.files.upload_part(request).await.map_err(|error| self.or_gone(&id, error))
    }

    async fn complete_multipart_upload(
        &self,
        mut request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let id = request.input.upload_id.clone();
        let checksum = match self.uploads().get(&id) {
            Some(begun) => begun.checksum,
            None => return Err(s3_error!(NoSuchUpload)),
        };
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let expected = match checksum {
            Some(checksum) if !self.is_composite(Kept { checksum, in_parts: true }) => {
                sum_of!(request.input, checksum).take().map(|expected| (checksum, expected))
            }
            _ => None,
        };
        let response = self.files.complete_multipart_upload(request).await;
        let response = response.map_err(|error| self.or_gone(&id, error))?;
        self.uploads().remove(&id);
        self.keep(key.clone(), checksum, true);
        if let Some((checksum, expected)) = expected
            && self.sum(&bucket, &key, checksum).await? != Some(expected)
        {
            self.remove(bucket, key).await?;
            return Err(s3_error!(BadDigest));
        }
        Ok(response)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let id = request.input.upload_id.clone();
        if !self.uploads().contains_key(&id) {
            return Err(s3_error!(NoSuchUpload));
        }
        let response = self.files.abort_multipart_upload(request).await;
        let response = response.map_err(|error| self.or_gone(&id, error))?;
        self.uploads().remove(&id);
        Ok(response)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        let prefix = request.input.prefix.unwrap_or_default();
        let uploads = self.uploads();
        let matching = uploads.iter().filter(|(_, begun)| begun.key.starts_with(&prefix));
        let uploads = matching.map(|(id, begun)| MultipartUpload {
            key: Some(begun.key.clone()),
            upload_id: Some(id.clone()),
            initiated: Some(begun.at.clone()),
            ..Default::default()
        });
        let output = ListMultipartUploadsOutput {
            bucket: Some(request.input.bucket),
            uploads: Some(uploads.collect()),
            is_truncated: Some(false),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }
}
