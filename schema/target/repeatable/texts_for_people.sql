-- Texts from the source may have characters that the encoding of this database lacks. So they come as bytes, in UTF8.

create or replace function replication.is_convertible(utf8 bytea) returns boolean
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $convertible$
begin
    perform convert_from(utf8, 'UTF8');
    return true;
exception when untranslatable_character then
    return false;
end
$convertible$;

-- The number of a character, from its bytes in UTF8.
create or replace function replication.code_point(utf8 bytea) returns int
language sql immutable strict
set search_path = pg_catalog, pg_temp
return case octet_length(utf8)
    when 1 then get_byte(utf8, 0)
    when 2 then (get_byte(utf8, 0) & 31) * 64 + (get_byte(utf8, 1) & 63)
    when 3 then (get_byte(utf8, 0) & 15) * 4096 + (get_byte(utf8, 1) & 63) * 64 + (get_byte(utf8, 2) & 63)
    else (get_byte(utf8, 0) & 7) * 262144 + (get_byte(utf8, 1) & 63) * 4096 + (get_byte(utf8, 2) & 63) * 64 + (get_byte(utf8, 3) & 63)
end;

-- The text, in which <U+6F22> stands for a character that this database lacks.
create or replace function replication.text_for_people(utf8 bytea) returns text
language sql immutable strict
set search_path = pg_catalog, pg_temp
return case
    when replication.is_convertible(utf8) then convert_from(utf8, 'UTF8')
    else (
        select string_agg(case when replication.is_convertible(part.bytes) then convert_from(part.bytes, 'UTF8')
                               else '<U+' || upper(to_hex(replication.code_point(part.bytes))) || '>' end, '' order by part.number)
        from (select decode(found.match[1], 'escape') as bytes, found.number
              -- Octal numbers stand for bytes that are not ASCII: one character, or what is between two.
              from regexp_matches(encode(utf8, 'escape'), '(\\3[0-7][0-7](?:\\2[0-7][0-7])+|\\\\|[^\\]+)', 'g')
                       with ordinality as found (match, number) offset 0) as part)
end;
