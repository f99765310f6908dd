/** The ids that must never mix. Each is a string at run time and a type of its own for the compiler. */

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** A key of `servers` in the catalog: SERVER_NAME_PATTERN. */
export type ServerName = Branded<'ServerName'>;
/** A UUID that names one Instance for its life. */
export type InstanceId = Branded<'InstanceId'>;
/** The Engine's id of a container, 64 hexadecimal digits. */
export type ContainerId = Branded<'ContainerId'>;
/** What a client sends as Mcp-Session-Id. A secret: it appears in logs as a hash only. */
export type SessionId = Branded<'SessionId'>;
/** The name of an authenticated caller. */
export type PrincipalId = Branded<'PrincipalId'>;

/** Whom Slipway starts servers for when nobody has asked. No caller has that name. */
export const NOBODY = '' as PrincipalId;

/** Names fit a URL's path, a container's name, a label and a metric without quoting; `__` joins names of tools. */
export const SERVER_NAME_PATTERN = /^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$/;

/**
 * Names of secrets fit a file's name and, in capital letters, a variable's: SLIPWAY_SECRET_<NAME>. None ends in `_file`,
 * since SLIPWAY_SECRET_<NAME>_FILE says where one is.
 */
export const SECRET_NAME_PATTERN = /^(?!.*_file$)[a-z][a-z0-9_]{0,62}$/;
