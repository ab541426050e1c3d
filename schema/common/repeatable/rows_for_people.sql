-- Rows travel in PostgreSQL's own text form. People read JSON: these functions are for views only.

-- The fields of a row's text form (what record_out writes): NULL where a field is empty and unquoted.
create or replace function replication.row_fields(row_text text) returns text[]
language sql immutable strict parallel safe
return (
    select array_agg(
        case
            when field = '' then null
            when left(field, 1) = '"' then
                replace(replace(substr(field, 2, length(field) - 2), '""', '"'), '\\', '\')
            else field
        end order by number)
    from regexp_matches(
             substr(row_text, 2, length(row_text) - 2) || ',',
             '("(?:[^"\\]|""|\\\\)*"|[^",]*),', 'g') with ordinality as match (fields, number),
         unnest(match.fields) as captured (field)
);

-- A row's text form as JSON, all values as strings; the text itself where it does not fit the columns.
create or replace function replication.row_as_json(columns text[], row_text text) returns json
language sql immutable parallel safe
return case
    when row_text is null then null
    when cardinality(columns) = cardinality(replication.row_fields(row_text))
        then json_object(columns, replication.row_fields(row_text))
    else json_build_object('row', row_text)
end;

-- A JSON array of strings as an array.
create or replace function replication.json_texts(list json) returns text[]
language sql immutable strict parallel safe
return (select array_agg(item order by number)
        from json_array_elements_text(list) with ordinality as element (item, number));
