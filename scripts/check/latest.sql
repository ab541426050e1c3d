-- The latest users of the demo. Variable: side, a or b.

set log_min_messages = panic;
set statement_timeout = '20s';
\pset expanded off
select :'side' || '_latest_' || row_number() over (order by created_at desc, id),
       regexp_replace(format('%s  %s  %s  %s', to_char(created_at, 'YYYY-MM-DD HH24:MI:SS'),
                             rpad(left(name, 24), 24), rpad(left(email, 36), 36), status), '[[:cntrl:]]', '?', 'g')
from public.users order by created_at desc, id limit 3;
