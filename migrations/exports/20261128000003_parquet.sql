-- One more format: Parquet, for programs that analyse data.

-- Names of formats, each once. Without a function: every claim and every renewal of a lease checks it.
alter table public.data_export_requests
    drop constraint data_export_requests_formats,
    add constraint data_export_requests_formats check (
        formats <@ '{json,csv,xlsx,parquet}' and cardinality(formats) > 0 and array_ndims(formats) = 1
        and cardinality(array_positions(formats, 'json')) <= 1
        and cardinality(array_positions(formats, 'csv')) <= 1
        and cardinality(array_positions(formats, 'xlsx')) <= 1
        and cardinality(array_positions(formats, 'parquet')) <= 1);

comment on column public.data_export_requests.formats is
    'The formats that are asked for: json, csv, xlsx, parquet. The first two are in every archive';
