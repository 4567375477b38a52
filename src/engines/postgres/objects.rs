//! Everything of a schema that is neither a table nor a column, as the server itself writes it.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Row};

use super::{
    catalog::quoted,
    connect::{failed, ident},
    scope::Scope,
};
use crate::{
    error::{Error, Result},
    snapshot::{Object, ObjectKind, TableName},
};

/// Sequences whose values are asked for at once.
const SEQUENCES: usize = 200;

/// One object, its relations still by number.
struct Found {
    object: Object,
    relation: u32,
    table: u32,
    schema: u32,
    references: u32,
}

/// Names of relations by number: of a partition, that of the table whose rows it holds.
pub struct Names<'a> {
    pub own: &'a BTreeMap<u32, TableName>,
    pub logical: &'a BTreeMap<u32, TableName>,
}

/// Reads the objects in scope, in the order of their kinds and names. Also returns warnings.
pub async fn read(client: &Client, scope: &Scope, names: &Names<'_>) -> Result<(Vec<Object>, Vec<String>)> {
    let mut found = Vec::new();
    for sql in [GENERAL, TYPES, RELATIONS, OF_TABLES, ROUTINES] {
        let rows = client.query(sql, &[]).await.map_err(|cause| failed("reading the objects of the schema", &cause))?;
        for row in &rows {
            let one = object(row)?;
            let chosen = match (one.relation, one.schema) {
                (0, 0) => scope.has_the_rest(),
                (0, schema) => scope.has_schema(schema),
                (relation, _) => scope.has_relation(relation),
            };
            if chosen {
                found.push(one);
            }
        }
    }
    let mut warnings = Vec::new();
    values(client, &mut found, &mut warnings).await?;
    let mut objects: Vec<Object> = found.into_iter().map(|one| named(one, names)).collect();
    objects.sort_by(|a, b| (a.kind, &a.table, &a.name).cmp(&(b.kind, &b.table, &b.name)));
    Ok((objects, warnings))
}

fn named(found: Found, names: &Names<'_>) -> Object {
    let mut object = found.object;
    object.table = names.logical.get(&found.table).cloned();
    object.references = names.logical.get(&found.references).or_else(|| names.own.get(&found.references)).cloned();
    if let (Some(table), Some(own)) = (&object.table, names.own.get(&found.table))
        && table != own
    {
        object.options.insert("partition".into(), quoted(own));
    }
    object
}

fn object(row: &Row) -> Result<Found> {
    let kind: String = row.get(0);
    let options: String = row.get(7);
    Ok(Found {
        object: Object {
            kind: self::kind(&kind)?,
            table: None,
            name: TableName { schema: row.get(4), name: row.get(5) },
            definition: row.get(6),
            options: serde_json::from_str(&options).map_err(|cause| Error::internal("reading options of the schema").source(cause))?,
            references: None,
        },
        relation: row.get(1),
        table: row.get(2),
        schema: row.get(3),
        references: row.get(8),
    })
}

fn kind(text: &str) -> Result<ObjectKind> {
    Ok(match text {
        "schema" => ObjectKind::Namespace,
        "extension" => ObjectKind::Extension,
        "type" => ObjectKind::Type,
        "sequence" => ObjectKind::Sequence,
        "p" => ObjectKind::PrimaryKey,
        "u" | "x" => ObjectKind::Unique,
        "c" => ObjectKind::Check,
        "f" => ObjectKind::ForeignKey,
        "index" => ObjectKind::Index,
        "routine" => ObjectKind::Routine,
        "view" => ObjectKind::View,
        "trigger" => ObjectKind::Trigger,
        "event" => ObjectKind::Event,
        "policy" => ObjectKind::Policy,
        other => return Err(Error::internal(format!("an object of the unknown kind '{other}'"))),
    })
}

/// Sequences as they stand: they are of no transaction, so these are the values of now.
async fn values(client: &Client, found: &mut [Found], warnings: &mut Vec<String>) -> Result<()> {
    let reading = |cause| failed("reading the values of sequences", &cause);
    let mut sequences: Vec<&mut Object> =
        found.iter_mut().map(|found| &mut found.object).filter(|object| object.kind == ObjectKind::Sequence).collect();
    let full = |object: &Object| format!("{}.{}", ident(object.name.schema.as_deref().unwrap_or_default()), ident(&object.name.name));
    let names: Vec<String> = sequences.iter().map(|object| full(object)).collect();
    let sql = "SELECT n, has_sequence_privilege(n, 'SELECT') FROM unnest($1::text[]) n";
    let allowed = client.query(sql, &[&names]).await.map_err(reading)?;
    let refused: Vec<String> = allowed.iter().filter(|row| !row.get::<_, bool>(1)).map(|row| row.get(0)).collect();
    if !refused.is_empty() {
        warnings.push(format!("the values of sequences are not kept, because the user may not read them: {}", refused.join(", ")));
    }
    sequences.retain(|object| !refused.contains(&full(object)));
    for some in sequences.chunks_mut(SEQUENCES) {
        let selects = some.iter().enumerate().map(|(at, object)| format!("SELECT {at} AS at, last_value, is_called FROM {}", full(object)));
        let rows = client.query(&selects.collect::<Vec<_>>().join(" UNION ALL "), &[]).await.map_err(reading)?;
        for row in &rows {
            if let Some(object) = usize::try_from(row.get::<_, i32>(0)).ok().and_then(|at| some.get_mut(at)) {
                object.options.insert("value".into(), row.get::<_, i64>(1).to_string());
                object.options.insert("called".into(), row.get::<_, bool>(2).to_string());
            }
        }
    }
    Ok(())
}

// Every statement gives: kind; the relation that decides whether it is in scope; the table it belongs to; its schema
// (numbers, 0 for none); the schema's name, where the object's own name has one; name; definition; options; the table it
// refers to. Names are written qualified, because the search path holds nothing but pg_catalog.

/// Schemas, extensions, event triggers.
const GENERAL: &str = "
    SELECT 'schema', 0::oid, 0::oid, n.oid, NULL::text, n.nspname::text, format('CREATE SCHEMA %I', n.nspname),
           jsonb_strip_nulls(jsonb_build_object('comment', obj_description(n.oid, 'pg_namespace')))::text, 0::oid
      FROM pg_namespace n WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_namespace'::regclass AND x.objid = n.oid AND x.deptype = 'e')
    UNION ALL
    SELECT 'extension', 0, 0, 0, NULL, e.extname, format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I', e.extname, n.nspname),
           jsonb_build_object('version', e.extversion)::text, 0
      FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.oid >= 16384
    UNION ALL
    SELECT 'event', 0, 0, 0, NULL, t.evtname, format('CREATE EVENT TRIGGER %I ON %s%s EXECUTE FUNCTION %s()', t.evtname, t.evtevent,
               (SELECT format(' WHEN TAG IN (%s)', string_agg(quote_literal(tag), ', ')) FROM unnest(t.evttags) tag HAVING count(*) > 0),
               t.evtfoid::regproc),
           jsonb_strip_nulls(jsonb_build_object('comment', obj_description(t.oid, 'pg_event_trigger'),
               'enabled', CASE t.evtenabled WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END))::text, 0
      FROM pg_event_trigger t
     WHERE NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_event_trigger'::regclass AND x.objid = t.oid AND x.deptype = 'e')";

/// Enumerations, composite types, domains, ranges, collations.
const TYPES: &str = "
    WITH own AS (
        SELECT t.*, n.nspname, jsonb_strip_nulls(jsonb_build_object('comment', obj_description(t.oid, 'pg_type')))::text AS options
          FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
         WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
           AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_type'::regclass AND x.objid = t.oid AND x.deptype = 'e')
    )
    SELECT 'type', 0::oid, 0::oid, typnamespace, nspname::text, typname::text,
           format('CREATE TYPE %I.%I AS ENUM (%s)', nspname, typname,
                  (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = own.oid)), options, 0::oid
      FROM own WHERE typtype = 'e'
    UNION ALL
    SELECT 'type', 0, 0, typnamespace, nspname, typname,
           format('CREATE TYPE %I.%I AS (%s)', nspname, typname,
                  (SELECT string_agg(format('%I %s%s', attname, format_type(atttypid, atttypmod),
                              CASE WHEN attcollation <> typcollation THEN format(' COLLATE %I.%I', cn.nspname, collname) END), ', ' ORDER BY attnum)
                     FROM pg_attribute a JOIN pg_type at ON at.oid = a.atttypid LEFT JOIN pg_collation co ON co.oid = attcollation
                     LEFT JOIN pg_namespace cn ON cn.oid = collnamespace WHERE attrelid = own.typrelid AND attnum > 0 AND NOT attisdropped)), options, 0
      FROM own WHERE typtype = 'c' AND EXISTS (SELECT FROM pg_class WHERE oid = typrelid AND relkind = 'c')
    UNION ALL
    SELECT 'type', 0, 0, typnamespace, nspname, typname,
           format('CREATE DOMAIN %I.%I AS %s%s%s%s%s', nspname, typname, format_type(typbasetype, typtypmod),
                  (SELECT format(' COLLATE %I.%I', cn.nspname, collname) FROM pg_collation co JOIN pg_namespace cn ON cn.oid = collnamespace
                     JOIN pg_type b ON b.oid = own.typbasetype WHERE co.oid = own.typcollation AND b.typcollation <> own.typcollation),
                  ' DEFAULT ' || pg_get_expr(typdefaultbin, 'pg_type'::regclass), CASE WHEN typnotnull THEN ' NOT NULL' END,
                  (SELECT string_agg(format(' CONSTRAINT %I %s', conname, pg_get_constraintdef(c.oid)), '' ORDER BY conname)
                     FROM pg_constraint c WHERE contypid = own.oid AND contype = 'c')), options, 0
      FROM own WHERE typtype = 'd'
    UNION ALL
    SELECT 'type', 0, 0, typnamespace, nspname, typname,
           format('CREATE TYPE %I.%I AS RANGE (SUBTYPE = %s%s%s%s)', nspname, typname, format_type(rngsubtype, NULL),
                  (SELECT format(', COLLATION = %I.%I', cn.nspname, collname) FROM pg_collation co JOIN pg_namespace cn ON cn.oid = collnamespace
                     JOIN pg_type b ON b.oid = rngsubtype WHERE co.oid = rngcollation AND b.typcollation <> rngcollation),
                  CASE WHEN rngsubdiff <> 0 THEN format(', SUBTYPE_DIFF = %s', rngsubdiff::regproc) END,
                  (SELECT format(', MULTIRANGE_TYPE_NAME = %I.%I', mn.nspname, m.typname) FROM pg_type m JOIN pg_namespace mn ON mn.oid = m.typnamespace
                    WHERE m.oid = (to_jsonb(r) ->> 'rngmultitypid')::oid)), options, 0
      FROM own JOIN pg_range r ON r.rngtypid = own.oid WHERE typtype = 'r'
    UNION ALL
    SELECT 'type', 0, 0, collnamespace, nspname, collname,
           format('CREATE COLLATION %I.%I (PROVIDER = %s%s%s)', nspname, collname,
                  CASE collprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
                  CASE WHEN collprovider = 'c' THEN format(', LC_COLLATE = %L, LC_CTYPE = %L', collcollate, collctype)
                       ELSE format(', LOCALE = %L', COALESCE(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', collcollate)) END,
                  CASE WHEN NOT collisdeterministic THEN ', DETERMINISTIC = false' END),
           jsonb_strip_nulls(jsonb_build_object('comment', obj_description(c.oid, 'pg_collation')))::text, 0
      FROM pg_collation c JOIN pg_namespace n ON n.oid = collnamespace
     WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_collation'::regclass AND x.objid = c.oid AND x.deptype = 'e')";

/// Sequences and views.
const RELATIONS: &str = "
    WITH own AS (
        SELECT c.*, n.nspname, obj_description(c.oid, 'pg_class') AS comment
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('S', 'v', 'm') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
           AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e')
    )
    SELECT 'sequence', COALESCE(d.refobjid, own.oid), COALESCE(d.refobjid, 0::oid), relnamespace, nspname::text, relname::text,
           format('CREATE SEQUENCE %I.%I AS %s START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', nspname, relname,
                  format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' END),
           jsonb_strip_nulls(jsonb_build_object('comment', comment,
               CASE d.deptype WHEN 'i' THEN 'identity of' ELSE 'owned by' END,
               (SELECT format('%I.%I.%I', tn.nspname, t.relname, a.attname) FROM pg_class t JOIN pg_namespace tn ON tn.oid = t.relnamespace
                  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid WHERE t.oid = d.refobjid)))::text, 0::oid
      FROM own JOIN pg_sequence s ON s.seqrelid = own.oid
      LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = own.oid AND d.objsubid = 0
           AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
     WHERE relkind = 'S'
    UNION ALL
    SELECT 'view', oid, 0, relnamespace, nspname, relname,
           format('CREATE %sVIEW %I.%I%s AS %s%s', CASE relkind WHEN 'm' THEN 'MATERIALIZED ' END, nspname, relname,
                  ' WITH (' || array_to_string(reloptions, ', ') || ')', rtrim(pg_get_viewdef(oid), ';'),
                  CASE WHEN relkind = 'm' AND NOT relispopulated THEN ' WITH NO DATA' END),
           jsonb_strip_nulls(jsonb_build_object('comment', comment))::text, 0
      FROM own WHERE relkind IN ('v', 'm')";

/// Constraints, indexes, statistics, triggers, rules, policies.
const OF_TABLES: &str = "
    SELECT c.contype::text, c.conrelid, c.conrelid, c.connamespace, NULL::text, c.conname::text, pg_get_constraintdef(c.oid),
           jsonb_strip_nulls(jsonb_build_object('comment', obj_description(c.oid, 'pg_constraint')))::text, c.confrelid
      FROM pg_constraint c
     WHERE c.contype IN ('p', 'u', 'x', 'c', 'f') AND c.conrelid <> 0 AND c.conparentid = 0 AND (c.coninhcount = 0 OR c.conislocal)
    UNION ALL
    SELECT 'index', i.indrelid, i.indrelid, c.relnamespace, n.nspname, c.relname,
           -- Of a partitioned table the server writes ON ONLY, which makes an index of no partition.
           replace(pg_get_indexdef(c.oid), format('INDEX %I ON ONLY ', c.relname), format('INDEX %I ON ', c.relname)),
           jsonb_strip_nulls(jsonb_build_object('comment', obj_description(c.oid, 'pg_class'), 'valid', CASE WHEN NOT i.indisvalid THEN 'no' END))::text, 0
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x'))
       AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid)
    UNION ALL
    SELECT 'index', s.stxrelid, s.stxrelid, s.stxnamespace, n.nspname, s.stxname, pg_get_statisticsobjdef(s.oid),
           jsonb_strip_nulls(jsonb_build_object('comment', obj_description(s.oid, 'pg_statistic_ext')))::text, 0
      FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
    UNION ALL
    SELECT 'trigger', t.tgrelid, t.tgrelid, c.relnamespace, NULL, t.tgname, pg_get_triggerdef(t.oid),
           jsonb_strip_nulls(jsonb_build_object('comment', obj_description(t.oid, 'pg_trigger'),
               'enabled', CASE t.tgenabled WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END))::text, 0
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
     WHERE NOT t.tgisinternal AND COALESCE((to_jsonb(t) ->> 'tgparentid')::oid, 0) = 0
    UNION ALL
    SELECT 'trigger', r.ev_class, r.ev_class, c.relnamespace, NULL, r.rulename, rtrim(pg_get_ruledef(r.oid), ';'),
           jsonb_strip_nulls(jsonb_build_object('comment', obj_description(r.oid, 'pg_rewrite'),
               'enabled', CASE r.ev_enabled WHEN 'D' THEN 'no' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' END))::text, 0
      FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE r.rulename <> '_RETURN'
    UNION ALL
    SELECT 'policy', p.polrelid, p.polrelid, c.relnamespace, NULL, p.polname,
           format('CREATE POLICY %I ON %I.%I%s FOR %s TO %s%s%s', p.polname, n.nspname, c.relname, CASE WHEN NOT p.polpermissive THEN ' AS RESTRICTIVE' END,
                  CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                  (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END, ', ' ORDER BY role) FROM unnest(p.polroles) role),
                  ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'),
           jsonb_strip_nulls(jsonb_build_object('comment', obj_description(p.oid, 'pg_policy')))::text, 0
      FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace";

/// Functions, procedures, aggregates.
const ROUTINES: &str = "
    SELECT 'routine', 0::oid, 0::oid, p.pronamespace, n.nspname::text, format('%s(%s)', p.proname, pg_get_function_identity_arguments(p.oid)),
           CASE WHEN p.prokind = 'a' THEN
               format('CREATE AGGREGATE %I.%I(%s) (SFUNC = %s, STYPE = %s%s%s%s%s%s)', n.nspname, p.proname,
                   COALESCE(NULLIF(pg_get_function_identity_arguments(p.oid), ''), '*'), a.aggtransfn::regproc, format_type(a.aggtranstype, NULL),
                   CASE WHEN a.aggfinalfn <> 0 THEN format(', FINALFUNC = %s', a.aggfinalfn::regproc) END,
                   CASE WHEN a.aggcombinefn <> 0 THEN format(', COMBINEFUNC = %s', a.aggcombinefn::regproc) END,
                   format(', INITCOND = %L', a.agginitval::text) || CASE WHEN a.agginitval IS NOT NULL THEN '' END,
                   CASE WHEN a.aggkind = 'h' THEN ', HYPOTHETICAL' END,
                   CASE p.proparallel WHEN 's' THEN ', PARALLEL = SAFE' WHEN 'r' THEN ', PARALLEL = RESTRICTED' END)
               ELSE pg_get_functiondef(p.oid) END,
           jsonb_strip_nulls(jsonb_build_object('comment', obj_description(p.oid, 'pg_proc')))::text, 0::oid
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
     WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype IN ('e', 'i'))";
