-- Which WAL timeline the source wrote when it looked: transaction ids of another one may be those of other transactions. A
-- service of the version before stores what was looked at later, and no timeline: then timeline_looked_at differs.
alter table replication.heard_source add column timeline bigint, add column timeline_looked_at timestamptz;
