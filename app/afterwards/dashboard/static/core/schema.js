/**
 * JSON Schema as far as forms need it. What it lets pass, the service still refuses: it validates
 * with the type's own model.
 */

/** @param {any} schema @param {any} root where `$ref` points into */
export function resolved(schema, root) {
  let found = schema ?? {};
  for (let step = 0; found.$ref && step < 10; step += 1) {
    const path = found.$ref
      .replace(/^#\//, "")
      .split("/")
      .map((name) => name.replace(/~1/g, "/").replace(/~0/g, "~"));
    const { $ref: _, ...beside } = found;
    found = { ...path.reduce((at, name) => at?.[name], root), ...beside };
  }
  if (found.allOf?.length === 1) {
    const { allOf, ...beside } = found;
    return { ...resolved(allOf[0], root), ...beside };
  }
  return found;
}

/** A member's schema but for null: a member that may be left empty is not two kinds of field. */
export function withoutNull(schema, root) {
  const known = resolved(schema, root);
  const choices = (known.anyOf ?? known.oneOf)?.filter((one) => one.type !== "null");
  if (choices?.length === 1)
    return { ...known, anyOf: undefined, ...resolved(choices[0], root), isNullable: true };
  if (Array.isArray(known.type) && known.type.includes("null")) {
    const [type, ...others] = known.type.filter((one) => one !== "null");
    return { ...known, type: others.length ? undefined : type, isNullable: true };
  }
  return known;
}

const TYPES = {
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  integer: (value) => Number.isInteger(value),
  boolean: (value) => typeof value === "boolean",
  array: Array.isArray,
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  null: (value) => value === null,
};

/**
 * @param {any} value @param {any} schema @param {any} [root] @param {string} [pointer]
 * @returns {{pointer: string, message: string}[]} what is surely wrong; empty: perhaps nothing
 */
export function mistakes(value, schema, root = schema, pointer = "#") {
  const known = withoutNull(schema, root);
  if (value === null && known.isNullable) return [];
  const wrong = (message) => [{ pointer, message }];
  if (known.enum && !known.enum.includes(value)) return wrong(`must be one of ${known.enum.join(", ")}`);
  if ("const" in known && known.const !== value) return wrong(`must be ${JSON.stringify(known.const)}`);
  if (typeof known.type === "string" && !TYPES[known.type](value))
    return wrong(`must be ${/^[aeiou]/.test(known.type) ? "an" : "a"} ${known.type}`);
  if (TYPES.object(value)) return ofObject(value, known, root, pointer);
  if (Array.isArray(value) && known.items)
    return value.flatMap((one, index) => mistakes(one, known.items, root, `${pointer}/${index}`));
  return typeof value === "string" || typeof value === "number"
    ? outOfBounds(value, known).flatMap(wrong)
    : [];
}

function ofObject(value, schema, root, pointer) {
  const missing = (schema.required ?? []).filter((name) => !(name in value));
  const members = schema.properties ?? {};
  const unknown =
    schema.additionalProperties === false ? Object.keys(value).filter((name) => !(name in members)) : [];
  return [
    ...missing.map((name) => ({ pointer: `${pointer}/${name}`, message: "is missing" })),
    ...unknown.map((name) => ({ pointer: `${pointer}/${name}`, message: "is not known here" })),
    ...Object.entries(value).flatMap(([name, one]) =>
      members[name] ? mistakes(one, members[name], root, `${pointer}/${name}`) : [],
    ),
  ];
}

function outOfBounds(value, { minimum, maximum, minLength, maxLength }) {
  if (typeof value === "string") {
    if (minLength && value.length < minLength) return [`must have ${minLength} characters or more`];
    return maxLength !== undefined && value.length > maxLength
      ? [`must have ${maxLength} characters at most`]
      : [];
  }
  if (minimum !== undefined && value < minimum) return [`must be ${minimum} or more`];
  return maximum !== undefined && value > maximum ? [`must be ${maximum} or less`] : [];
}

/** A payload to begin with: defaults, and something empty for what is required. */
export function example(schema, root = schema) {
  const known = withoutNull(schema, root);
  if ("default" in known) return known.default;
  if (known.examples?.length) return known.examples[0];
  if (known.enum) return known.enum[0];
  if (known.type === "object") {
    const names = (known.required ?? []).filter((name) => known.properties?.[name]);
    return Object.fromEntries(names.map((name) => [name, example(known.properties[name], root)]));
  }
  return (
    { string: "", integer: known.minimum ?? 0, number: known.minimum ?? 0, boolean: false, array: [] }[
      known.type
    ] ?? null
  );
}
