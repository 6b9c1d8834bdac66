-- A request that failed in our own code again and again rests until the next night: the second round of the same night
-- leaves it out. This was read off the text of the last error and the number of attempts; now the row says it.

alter table public.data_export_requests add column given_up_at timestamptz;

comment on column public.data_export_requests.given_up_at is 'When a night last gave the request up after failures of the processor''s own code; the next night takes it again';
