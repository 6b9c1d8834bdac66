//! `s3s-fs`, and the parts of S3 that it lacks and an upload relies on: the checksum of a whole multipart
//! object, compared when it is completed, and the list of unfinished uploads.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::anyhow;
use futures::TryStreamExt as _;
use hyper::{HeaderMap, Method, Uri, http::Extensions};
use s3s::{
    S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    checksum::ChecksumHasher,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
        CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
        DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput, HeadBucketInput,
        HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListMultipartUploadsInput,
        ListMultipartUploadsOutput, ListObjectsV2Input, ListObjectsV2Output, MultipartUpload, PutObjectInput,
        PutObjectOutput, Timestamp, UploadPartInput, UploadPartOutput,
    },
    s3_error,
};
use s3s_fs::FileSystem;

#[derive(Clone)]
pub(super) struct Backend {
    files: Arc<FileSystem>,
    /// Key and begin of each unfinished upload, by its id.
    uploads: Arc<Mutex<BTreeMap<String, (String, Timestamp)>>>,
}

impl Backend {
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let files = FileSystem::new(folder).map_err(|error| anyhow!("s3s-fs does not start: {error:?}"))?;
        Ok(Self { files: Arc::new(files), uploads: Arc::default() })
    }

    pub(super) fn unfinished_uploads(&self) -> Vec<String> {
        self.uploads().values().map(|(key, _)| key.clone()).collect()
    }

    fn uploads(&self) -> MutexGuard<'_, BTreeMap<String, (String, Timestamp)>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names an upload that has ended as S3 does, and forgets it: who asked for its end may have been killed before it
    /// was noted here. `s3s-fs` takes it for another user's, of whom there are none.
    fn or_gone(&self, id: &str, error: S3Error) -> S3Error {
        if !matches!(error.code(), S3ErrorCode::AccessDenied) {
            return error;
        }
        self.uploads().remove(id);
        s3_error!(NoSuchUpload)
    }

    /// Sums up the whole object, in the Base64 form of S3.
    async fn crc64nvme(&self, bucket: &str, key: &str) -> S3Result<Option<String>> {
        let input = GetObjectInput::builder().bucket(bucket.to_owned()).key(key.to_owned()).build();
        let input = input.map_err(|_| s3_error!(InternalError))?;
        let output = self.files.get_object(own_request(input)).await?.output;
        let mut hasher = ChecksumHasher { crc64nvme: Some(Default::default()), ..Default::default() };
        let mut body = output.body.ok_or_else(|| s3_error!(InternalError))?;
        while let Some(bytes) = body.try_next().await.map_err(|_| s3_error!(InternalError))? {
            hasher.update(&bytes);
        }
        Ok(hasher.finalize().checksum_crc64nvme)
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

#[async_trait::async_trait]
impl S3 for Backend {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        self.files.put_object(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        self.files.get_object(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let mut response = self.files.head_object(request).await?;
        if response.output.checksum_crc64nvme.is_none() {
            response.output.checksum_crc64nvme = self.crc64nvme(&bucket, &key).await?;
        }
        Ok(response)
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.files.head_bucket(request).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        self.files.delete_object(request).await
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
        self.files.list_objects_v2(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let key = request.input.key.clone();
        let response = self.files.create_multipart_upload(request).await?;
        if let Some(id) = response.output.upload_id.clone() {
            self.uploads().insert(id, (key, std::time::SystemTime::now().into()));
        }
        Ok(response)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        let id = request.input.upload_id.clone();
        self.files.upload_part(request).await.map_err(|error| self.or_gone(&id, error))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let id = request.input.upload_id.clone();
        if !self.uploads().contains_key(&id) {
            return Err(s3_error!(NoSuchUpload));
        }
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let expected = request.input.checksum_crc64nvme.clone();
        let response = self.files.complete_multipart_upload(request).await;
        let response = response.map_err(|error| self.or_gone(&id, error))?;
        self.uploads().remove(&id);
        if expected.is_some() && self.crc64nvme(&bucket, &key).await? != expected {
            let input = DeleteObjectInput::builder().bucket(bucket).key(key).build();
            let input = input.map_err(|_| s3_error!(InternalError))?;
            self.files.delete_object(own_request(input)).await?;
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
        let matching = uploads.iter().filter(|(_, (key, _))| key.starts_with(&prefix));
        let uploads = matching.map(|(id, (key, begun))| MultipartUpload {
            key: Some(key.clone()),
            upload_id: Some(id.clone()),
            initiated: Some(begun.clone()),
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
