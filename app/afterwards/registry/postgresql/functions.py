"""The database's functions: what takes several statements, and one round trip.

Statements of a function see what was committed before each of them, so that what is counted after
a lock is what its holder before has left.
"""

from __future__ import annotations

from typing import Final

# Locks that end with their transaction. First the plans (pauses and limits), shared by all that
# claim; then limited types, then concurrency keys, in the order of their numbers; then rows of
# tasks, in the order of their ids. What is claimed is never waited for.
FUNCTIONS: Final = """
CREATE FUNCTION afterwards.enter(worker text, its_service text, plans_change boolean)
    RETURNS TABLE (
        wall float8, elapsed float8, keys_version bigint, plans_version bigint,
        webhooks_version bigint,
        latest_generation int, known boolean, connection bigint, joined boolean, draining boolean,
        over text, doomed boolean, gone boolean, generation int, slots json, said json
    ) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF plans_change THEN
        PERFORM pg_advisory_xact_lock(1634104421, 0);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(1634104421, 0);
    END IF;
    PERFORM 1 FROM afterwards.workers WHERE name = worker FOR NO KEY UPDATE;
    RETURN QUERY
        SELECT afterwards.wall(), afterwards.elapsed(), s.keys_version, s.plans_version,
            s.webhooks_version,
            (SELECT max(o.generation) FROM afterwards.workers AS o WHERE o.service = its_service),
            w.name IS NOT NULL, w.connection, w.joined, w.draining,
            w.over, w.doomed, w.gone, w.generation, w.slots, w.said
        FROM afterwards.service AS s LEFT JOIN afterwards.workers AS w ON w.name = worker;
END
$$;

CREATE FUNCTION afterwards.key_lock(type text, key text) RETURNS int
    LANGUAGE sql IMMUTABLE AS $$ SELECT hashtext(type || E'\\x1f' || key) $$;

CREATE FUNCTION afterwards.lock_tasks(
        ids uuid[], unique_keys text[], owners text[], types text[], keys text[],
        omitting text, held json
    ) RETURNS SETOF afterwards.tasks LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    wanted uuid[] := ids;
    number int;
BEGIN
    IF unique_keys <> '{}' THEN
        wanted := wanted || ARRAY(
            SELECT t.id FROM unnest(unique_keys, owners) AS u (key, owner)
            JOIN afterwards.tasks AS t ON t.unique_key = u.key
                AND coalesce(t.owner, '') = u.owner AND t.finished_at IS NULL
        );
    END IF;
    -- Claims that the worker should hold and does not list.
    IF omitting IS NOT NULL THEN
        wanted := wanted || ARRAY(
            SELECT t.id FROM afterwards.tasks AS t WHERE t.worker = omitting AND NOT EXISTS (
                SELECT FROM json_to_recordset(held) AS h (id uuid, attempt int)
                WHERE h.id = t.id AND h.attempt = t.attempt
            )
        );
    END IF;
    FOR number IN
        SELECT afterwards.key_lock(k.type, k.key) FROM unnest(types, keys) AS k (type, key)
        UNION SELECT afterwards.key_lock(t.type, t.concurrency_key) FROM afterwards.tasks AS t
            WHERE t.id = ANY (wanted) AND t.concurrency_key IS NOT NULL
        ORDER BY 1
    LOOP
        PERFORM pg_advisory_xact_lock(1634104423, number);
    END LOOP;
    wanted := wanted || ARRAY(
        SELECT t.task_group FROM afterwards.tasks AS t
        WHERE t.id = ANY (wanted) AND t.task_group IS NOT NULL
    );
    RETURN QUERY SELECT * FROM afterwards.tasks AS t WHERE t.id = ANY (wanted)
        ORDER BY t.id FOR UPDATE;
END
$$;

-- What limited types may start now; `limits` by type: most attempts at once, starts in so many
-- seconds.
CREATE FUNCTION afterwards.budgets(limits json)
    RETURNS TABLE (type text, running bigint, starts bigint) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT key AS name FROM json_each(limits) ORDER BY hashtext(key) LOOP
        PERFORM pg_advisory_xact_lock(1634104422, hashtext(one.name));
    END LOOP;
    RETURN QUERY SELECT l.key,
        (SELECT count(*) FROM afterwards.tasks AS t
            WHERE t.type = l.key AND t.state = 'processing'),
        (SELECT count(*) FROM afterwards.starts AS s
            WHERE s.type = l.key AND s.elapsed > afterwards.elapsed()
                - (l.value ->> 'rate_seconds')::float8)
        FROM json_each(limits) AS l;
END
$$;

-- Tasks that a worker's free slots are for. Types one after another, each by its own part of the
-- index: those that are closed cost nothing, however many of them wait. What another transaction
-- has locked is passed over.
CREATE FUNCTION afterwards.claimable(
        lanes json, closed text[], known text[], plans bigint
    ) RETURNS SETOF afterwards.tasks LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    one record;
    next_type text;
BEGIN
    IF plans <> (SELECT plans_version FROM afterwards.service) THEN
        RETURN;
    END IF;
    FOR one IN SELECT key AS lane, value::int AS most FROM json_each_text(lanes) LOOP
        next_type := '';
        LOOP
            SELECT min(t.type) INTO next_type FROM afterwards.tasks AS t
                WHERE t.lane = one.lane AND t.type > next_type;
            EXIT WHEN next_type IS NULL;
            CONTINUE WHEN next_type = ANY (closed)
                OR (known IS NOT NULL AND NOT next_type = ANY (known));
            RETURN QUERY SELECT * FROM afterwards.tasks AS t
                WHERE t.lane = one.lane AND t.type = next_type ORDER BY t.priority DESC, t.age
                LIMIT one.most FOR UPDATE SKIP LOCKED;
        END LOOP;
    END LOOP;
END
$$;

-- Types that may start nothing now; `limits` by type: most attempts at once, starts in so many
-- seconds.
CREATE FUNCTION afterwards.spent(limits json) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(l.key), '{}') FROM json_each(limits) AS l WHERE
        (SELECT count(*) FROM afterwards.tasks AS t
            WHERE t.type = l.key AND t.state = 'processing') >= (l.value ->> 'most')::int
        OR (SELECT count(*) FROM afterwards.starts AS s
            WHERE s.type = l.key AND s.elapsed > afterwards.elapsed()
                - (l.value ->> 'rate_seconds')::float8) >= (l.value ->> 'rate_count')::int
$$;

-- True if `claimable` might give something that may start.
CREATE FUNCTION afterwards.wanted(lanes json, paused text[], limits json) RETURNS boolean
    LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    one record;
    next_type text;
    closed text[] := paused || afterwards.spent(limits);
BEGIN
    FOR one IN SELECT key AS lane FROM json_each_text(lanes) LOOP
        next_type := '';
        LOOP
            SELECT min(t.type) INTO next_type FROM afterwards.tasks AS t
                WHERE t.lane = one.lane AND t.type > next_type;
            EXIT WHEN next_type IS NULL;
            IF NOT next_type = ANY (closed) THEN
                RETURN true;
            END IF;
        END LOOP;
    END LOOP;
    RETURN false;
END
$$;

-- After a change of tasks with concurrency keys: as many of each as may start can be claimed.
CREATE FUNCTION afterwards.show(types text[], keys text[], most int[])
    RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    one record;
    room bigint;
    first uuid[];
BEGIN
    FOR one IN SELECT * FROM unnest(types, keys, most) AS k (type, key, most) LOOP
        SELECT greatest(0, one.most - count(*)) INTO room FROM afterwards.tasks AS t
            WHERE t.type = one.type AND t.concurrency_key = one.key AND t.state = 'processing';
        first := ARRAY(
            SELECT w.id FROM afterwards.tasks AS w
            WHERE w.type = one.type AND w.concurrency_key = one.key AND w.state = 'pending'
                AND w.crowd = 0 ORDER BY w.priority DESC, w.age LIMIT room
        ) || ARRAY(
            SELECT w.id FROM afterwards.tasks AS w
            WHERE w.type = one.type AND w.concurrency_key = one.key AND w.state = 'pending'
                AND w.crowd > 0 ORDER BY w.priority DESC, w.age LIMIT room
        );
        UPDATE afterwards.tasks AS t SET lane = NULL
            WHERE t.type = one.type AND t.concurrency_key = one.key AND t.lane IS NOT NULL
                AND NOT t.id = ANY (first);
        UPDATE afterwards.tasks AS t
            SET lane = CASE WHEN t.crowd = 0 THEN t.executor ELSE 'suspected' END
            WHERE t.id = ANY (first) AND t.lane IS NULL;
    END LOOP;
END
$$;
"""
