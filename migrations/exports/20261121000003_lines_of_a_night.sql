-- What a night did is read from its lines of the log, also while it runs: without an index each look would read two
-- years of log.

create index data_export_events_night on public.data_export_events (night) where night is not null;
