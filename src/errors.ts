/**
 * Every error that leaves Slipway, in one table.
 *
 * What a client reads comes from here and never from the message of a dependency, which may hold paths,
 * image names or worse. docs/errors.md is generated from this table (scripts/generate.ts).
 */

/** JSON-RPC error codes. Those of JSON-RPC 2.0 itself, and of MCP where it names one. */
export const RPC_CODES = Object.freeze({
	parseError: -32700,
	invalidRequest: -32600,
	methodNotFound: -32601,
	invalidParams: -32602,
	internal: -32603,
	/** MCP's implementation-defined range begins here. */
	failed: -32000,
	/** What the SDK and its clients take for "this session is gone: initialize again". */
	sessionUnknown: -32001,
	unauthenticated: -32003,
	notFound: -32004,
	forbidden: -32005,
	limited: -32006,
	unavailable: -32007,
	/** MCP, until 2026-07-28 made it invalidParams. */
	resourceNotFound: -32002,
	/** HeaderMismatch, MCP 2026-07-28. */
	headerMismatch: -32020,
	/** MissingRequiredClientCapability, MCP 2026-07-28, with `data.requiredCapabilities`. */
	capabilityMissing: -32021,
	/** UnsupportedProtocolVersion, MCP 2026-07-28, with `data.supported` and `data.requested`. */
	protocolVersion: -32022,
});

interface ErrorRow {
	/** The HTTP status when the error is the whole answer. 200: the failure of a call, not of the exchange. */
	readonly httpStatus: number;
	readonly rpcCode: number;
	/** Whether the same request may succeed if it is sent again later. */
	readonly retryable: boolean;
	readonly logLevel: 'error' | 'warn' | 'info' | 'debug';
	/** What happened. */
	readonly sentence: string;
	/** What to do about it. */
	readonly nextStep: string;
}

function row(
	httpStatus: number,
	rpcCode: number,
	logLevel: ErrorRow['logLevel'],
	sentence: string,
	nextStep: string,
	retryable = false,
): ErrorRow {
	return Object.freeze({ httpStatus, rpcCode, retryable, logLevel, sentence, nextStep });
}

export const ERRORS = Object.freeze({
	// What a client sent.
	SLIPWAY_BAD_JSON: row(
		400,
		RPC_CODES.parseError,
		'info',
		'The request body is not JSON.',
		'Send one JSON-RPC message as UTF-8 JSON.',
	),
	SLIPWAY_BAD_REQUEST: row(
		400,
		RPC_CODES.invalidRequest,
		'info',
		'The request is not a valid JSON-RPC message.',
		'Send one request, notification or response as JSON-RPC 2.0 defines them.',
	),
	SLIPWAY_BATCH_REFUSED: row(
		400,
		RPC_CODES.invalidRequest,
		'info',
		'This session takes no batches.',
		'Send one message a request; only revision 2025-03-26 has batches.',
	),
	SLIPWAY_SESSION_REQUIRED: row(
		400,
		RPC_CODES.invalidRequest,
		'info',
		'The request names no session.',
		'Send `initialize` first, then the Mcp-Session-Id header of its answer with every request.',
	),
	SLIPWAY_PROTOCOL_VERSION: row(
		400,
		RPC_CODES.protocolVersion,
		'info',
		'The protocol revision is not one that this endpoint speaks.',
		'Use one of the revisions in `data.supported`.',
	),
	SLIPWAY_HEADER_MISMATCH: row(
		400,
		RPC_CODES.headerMismatch,
		'info',
		'The headers of the request and its body do not agree.',
		'Send MCP-Protocol-Version, Mcp-Method and Mcp-Name as the body has them.',
	),
	SLIPWAY_PARAMS_INVALID: row(
		400,
		RPC_CODES.invalidParams,
		'info',
		'The parameters of the request are not what the protocol wants.',
		'See `data.reason`.',
	),
	SLIPWAY_REQUEST_STATE: row(
		400,
		RPC_CODES.invalidParams,
		'info',
		'The requestState is not one that this request was given, or it was used, or its time is over.',
		'Send the request again without requestState and inputResponses.',
	),
	SLIPWAY_CAPABILITY_MISSING: row(
		400,
		RPC_CODES.capabilityMissing,
		'info',
		'The server asks for what the client has not declared that it can do.',
		'Declare `data.requiredCapabilities` in `io.modelcontextprotocol/clientCapabilities`, if the client can.',
	),
	SLIPWAY_METHOD_UNKNOWN: row(
		404,
		RPC_CODES.methodNotFound,
		'info',
		'The method is not part of revision 2026-07-28.',
		'See the changelog of the revision for what took its place.',
	),
	SLIPWAY_DUPLICATE_ID: row(
		400,
		RPC_CODES.invalidRequest,
		'info',
		'A request with this id is in flight in this session.',
		'Use each request id once.',
	),
	SLIPWAY_UNAUTHENTICATED: row(
		401,
		RPC_CODES.unauthenticated,
		'info',
		'The API key is missing or wrong.',
		'Send the header `Authorization: Bearer <key>`.',
	),
	SLIPWAY_FORBIDDEN: row(
		403,
		RPC_CODES.forbidden,
		'info',
		'You may not use that.',
		'Get a key or a token with the scopes in `data.scopes`; where there are none, nobody may.',
	),
	SLIPWAY_TOOL_CHANGED: row(
		200,
		RPC_CODES.forbidden,
		'info',
		'The definition of that tool is not the one that was approved.',
		'`slipway approve <server>` shows how it differs; `slipway approve <server> <tool>` approves it as it is now.',
	),
	SLIPWAY_PIN_UNKNOWN: row(
		404,
		RPC_CODES.notFound,
		'info',
		'There is no such definition to be approved.',
		'See `slipway approve` for those that wait; one that has changed since it was looked at has to be looked at again.',
	),
	SLIPWAY_PIN_REFUSED: row(
		409,
		RPC_CODES.invalidParams,
		'info',
		'That definition cannot be approved.',
		'See `data.reason`; the server has to define the tool otherwise.',
	),
	SLIPWAY_ARGUMENTS_INVALID: row(
		200,
		RPC_CODES.invalidParams,
		'info',
		'The arguments are not what the input schema of the tool wants.',
		'See `data.reason`; ask for `tools/list` again if the schema may have changed.',
	),
	SLIPWAY_ARGUMENTS_FORBIDDEN: row(
		403,
		RPC_CODES.forbidden,
		'info',
		'You may not use that tool with these arguments.',
		'See `data.reason`; what nobody may is in `tools.arguments` of the catalog entry.',
	),
	SLIPWAY_KEY_INVALID: row(
		400,
		RPC_CODES.invalidParams,
		'info',
		'That is no key as it should be.',
		'See `data.reason`; `slipway keys --help` says what there is to say.',
	),
	SLIPWAY_KEY_EXISTS: row(
		409,
		RPC_CODES.invalidParams,
		'info',
		'There is a key of that name.',
		'Choose another name, or rotate or revoke that one.',
	),
	SLIPWAY_KEY_UNKNOWN: row(
		404,
		RPC_CODES.notFound,
		'info',
		'There is no key of that name.',
		'See `slipway keys list` for the keys that there are.',
	),
	SLIPWAY_KEYS_FULL: row(
		409,
		RPC_CODES.limited,
		'info',
		'There are as many keys as there may be.',
		'Revoke those that nobody uses.',
	),
	SLIPWAY_TOKEN_INVALID: row(
		401,
		RPC_CODES.unauthenticated,
		'info',
		'The access token is not one that this gateway takes.',
		'See `data.reason`; get a token for this resource from the authorization server that the resource metadata names.',
	),
	SLIPWAY_HOST_REFUSED: row(
		403,
		RPC_CODES.forbidden,
		'warn',
		'The Host of the request is not one of this gateway.',
		'Use the published address, or add the name to SLIPWAY_ALLOWED_HOSTS.',
	),
	SLIPWAY_ORIGIN_REFUSED: row(
		403,
		RPC_CODES.forbidden,
		'warn',
		'The Origin of the request is not allowed.',
		'Add the origin to SLIPWAY_ALLOWED_ORIGINS if its pages may use this gateway.',
	),
	SLIPWAY_SERVER_UNKNOWN: row(
		404,
		RPC_CODES.notFound,
		'info',
		'The catalog has no such server.',
		'See /status for the servers that there are.',
	),
	SLIPWAY_SERVER_DISABLED: row(
		404,
		RPC_CODES.notFound,
		'info',
		'The server is disabled in the catalog.',
		'Set "enabled": true in its catalog entry.',
	),
	SLIPWAY_SERVER_EXISTS: row(
		409,
		RPC_CODES.invalidParams,
		'info',
		'The catalog has a server of that name.',
		'Choose another name (`--name`), or put this one in its place (`--replace`).',
	),
	SLIPWAY_IMPORT_REFUSED: row(
		422,
		RPC_CODES.invalidParams,
		'info',
		'That server cannot be carried over into the catalog.',
		'See `data.reason`.',
	),
	SLIPWAY_GROUP_UNKNOWN: row(
		404,
		RPC_CODES.notFound,
		'info',
		'The catalog has no such group.',
		'See /status for the groups that there are.',
	),
	SLIPWAY_PATH_UNKNOWN: row(
		404,
		RPC_CODES.notFound,
		'info',
		'There is nothing at this path.',
		'Servers are at /servers/<name>/mcp, all of them at /mcp; see also /health, /ready, /status and /metrics.',
	),
	SLIPWAY_SESSION_UNKNOWN: row(
		404,
		RPC_CODES.sessionUnknown,
		'info',
		'The session is unknown or has ended.',
		'Send `initialize` again, without a session id.',
	),
	SLIPWAY_METHOD_NOT_ALLOWED: row(
		405,
		RPC_CODES.invalidRequest,
		'info',
		'The HTTP method is not allowed here.',
		'Use POST, GET or DELETE.',
	),
	SLIPWAY_STREAM_OVER: row(
		405,
		RPC_CODES.invalidRequest,
		'debug',
		'The stream of that Last-Event-ID has ended, and there is nothing more of it.',
		'Open the stream of the session without Last-Event-ID.',
	),
	SLIPWAY_NOT_ACCEPTABLE: row(
		406,
		RPC_CODES.invalidRequest,
		'info',
		'The client does not accept what this endpoint answers with.',
		'Send `Accept: application/json, text/event-stream` with POST and `Accept: text/event-stream` with GET.',
	),
	SLIPWAY_REQUEST_TIMEOUT: row(
		408,
		RPC_CODES.invalidRequest,
		'info',
		'The request did not arrive in time.',
		'Send the whole body within 30 s.',
		true,
	),
	SLIPWAY_BODY_TOO_LARGE: row(
		413,
		RPC_CODES.invalidRequest,
		'info',
		'The request body is larger than 4 MiB.',
		'Send less in one message.',
	),
	SLIPWAY_MEDIA_TYPE: row(
		415,
		RPC_CODES.invalidRequest,
		'info',
		'The request body is not of a type that this endpoint reads.',
		'Send `Content-Type: application/json`, uncompressed.',
	),
	SLIPWAY_HEADERS_TOO_LARGE: row(
		431,
		RPC_CODES.invalidRequest,
		'info',
		'The headers of the request are larger than 16 KiB or more than 64.',
		'Send fewer or shorter headers.',
	),

	// What is full.
	SLIPWAY_RATE_LIMITED: row(
		429,
		RPC_CODES.limited,
		'info',
		'Too many requests.',
		'Wait as long as Retry-After says.',
		true,
	),
	SLIPWAY_CALLS_FULL: row(
		429,
		RPC_CODES.limited,
		'info',
		'As many calls are in flight as may be.',
		'Wait for an answer before the next call.',
		true,
	),
	SLIPWAY_CONTAINERS_FULL: row(
		429,
		RPC_CODES.limited,
		'warn',
		'The caller has as many containers as it may.',
		'End a session with DELETE, or wait until an idle one ends; SLIPWAY_CONTAINERS_PER_CALLER and `keys create --containers` allow more.',
		true,
	),
	SLIPWAY_SERVER_FULL: row(
		503,
		RPC_CODES.unavailable,
		'warn',
		'The server is used as much as the catalog allows.',
		'Try again as Retry-After says, or raise what `data.reason` names in the catalog entry.',
		true,
	),
	SLIPWAY_SESSIONS_FULL: row(
		429,
		RPC_CODES.limited,
		'warn',
		'The caller has as many sessions as it may.',
		'End a session with DELETE, or wait until an idle one ends.',
		true,
	),
	SLIPWAY_INSTANCES_FULL: row(
		503,
		RPC_CODES.unavailable,
		'warn',
		'As many containers run as may run.',
		'Try again later, or raise SLIPWAY_INSTANCES_MAX.',
		true,
	),
	SLIPWAY_SERVER_INSTANCES_FULL: row(
		503,
		RPC_CODES.unavailable,
		'warn',
		'As many containers of this server run as may run.',
		'Try again later, or raise SLIPWAY_INSTANCES_PER_SERVER.',
		true,
	),
	SLIPWAY_START_RATE: row(
		503,
		RPC_CODES.unavailable,
		'warn',
		'As many containers were started in the last minute as may be.',
		'Try again as Retry-After says, or raise SLIPWAY_STARTS_PER_MINUTE.',
		true,
	),
	SLIPWAY_START_QUEUE_FULL: row(
		503,
		RPC_CODES.unavailable,
		'warn',
		'Too many servers are waiting to start.',
		'Try again as Retry-After says.',
		true,
	),

	// What a server did.
	SLIPWAY_CALL_TIMEOUT: row(
		200,
		RPC_CODES.failed,
		'info',
		'The server did not answer in time.',
		'Raise `callTimeout` in the catalog entry if the call needs longer.',
		true,
	),
	SLIPWAY_INSTANCE_EXITED: row(
		200,
		RPC_CODES.failed,
		'warn',
		'The server ended before it answered.',
		'See `data.stderr`. The next call gets a new Instance; this one may have had effects, and was not repeated.',
		true,
	),
	SLIPWAY_INSTANCE_OOM: row(
		200,
		RPC_CODES.failed,
		'warn',
		'The server ran out of memory.',
		'Raise `resources.memory` in the catalog entry.',
		true,
	),
	SLIPWAY_INSTANCE_LOST: row(
		200,
		RPC_CODES.failed,
		'warn',
		'The connection to the server was lost.',
		'Call again: the next call gets a new Instance. This one may have had effects, and was not repeated.',
		true,
	),
	SLIPWAY_INSTANCE_STALLED: row(
		200,
		RPC_CODES.failed,
		'warn',
		'The server said nothing any more, call after call, and was ended.',
		'Send the next request: it gets a new Instance. This one may have had effects: it was not repeated.',
		true,
	),
	SLIPWAY_LINE_TOO_LONG: row(
		200,
		RPC_CODES.failed,
		'warn',
		'The server sent a line longer than 10 MiB and was ended.',
		'Ask for less at once.',
		true,
	),
	SLIPWAY_FRAME_INVALID: row(
		200,
		RPC_CODES.failed,
		'error',
		'The stream from the engine was not what it should be and was closed.',
		'Call again; if it happens again, look at the engine.',
		true,
	),
	SLIPWAY_PROTOCOL_NOISE: row(
		200,
		RPC_CODES.failed,
		'warn',
		'The server wrote too much to stdout that is no JSON-RPC, and was ended.',
		'Make the server log on stderr.',
	),
	SLIPWAY_RESULT_INVALID: row(
		200,
		RPC_CODES.internal,
		'warn',
		'The server answered with what is no result of the protocol.',
		'Tell the makers of the server: a result must be an object.',
	),
	SLIPWAY_STDIN_STALL: row(
		503,
		RPC_CODES.unavailable,
		'warn',
		'The server does not read its input.',
		'Send less at once, and look whether the server hangs.',
		true,
	),
	SLIPWAY_CLIENT_GONE: row(
		200,
		RPC_CODES.failed,
		'info',
		'The client of this session cannot be asked now.',
		'Open the stream of the session (GET).',
		true,
	),
	SLIPWAY_SESSION_ENDED: row(
		200,
		RPC_CODES.failed,
		'info',
		'The session ended before the answer came.',
		'Initialize a new session.',
		true,
	),

	// What kept a server from starting.
	SLIPWAY_START_FAILED: row(
		502,
		RPC_CODES.failed,
		'warn',
		'The server ended before it was ready.',
		'See `data.exitCode` and `data.stderr`; /status shows them too.',
	),
	SLIPWAY_CRASH_LOOP: row(
		503,
		RPC_CODES.unavailable,
		'warn',
		'The server has failed again and again, and is not started for a while.',
		'See `data.reason`, `data.exitCode` and `data.stderr` for its last failure; it is tried again as Retry-After says.',
		true,
	),
	SLIPWAY_HANDSHAKE_REFUSED: row(
		502,
		RPC_CODES.failed,
		'warn',
		'The server refused to begin a conversation.',
		'See `data.reason` for what the server says.',
	),
	SLIPWAY_START_TIMEOUT: row(
		504,
		RPC_CODES.failed,
		'warn',
		'The server did not answer `initialize` in time.',
		'See `data.stderr`. Does the command speak MCP on stdin and stdout?',
		true,
	),
	SLIPWAY_COMMAND_INVALID: row(
		502,
		RPC_CODES.failed,
		'warn',
		'The command of the server cannot be run in its image.',
		'Correct `command` or `image` in the catalog entry.',
	),
	SLIPWAY_IMAGE_MISSING: row(
		502,
		RPC_CODES.failed,
		'warn',
		'The image does not exist or cannot be pulled.',
		'Correct `image` in the catalog entry, or pull it by hand and try again.',
	),
	SLIPWAY_IMAGE_REFUSED: row(
		502,
		RPC_CODES.failed,
		'warn',
		'The image asks for what Slipway does not give, or lacks what it needs.',
		'See `data.reason`.',
	),
	SLIPWAY_PACKAGE_MISSING: row(
		502,
		RPC_CODES.failed,
		'warn',
		'There is no such package or version.',
		'Correct `npm` or `pypi` in the catalog entry.',
	),
	SLIPWAY_PACKAGE_REFUSED: row(
		502,
		RPC_CODES.failed,
		'warn',
		'The package cannot be run as a server.',
		'See `data.reason`.',
	),
	SLIPWAY_PACKAGE_CHANGED: row(
		502,
		RPC_CODES.failed,
		'warn',
		'A package is not the one that was resolved.',
		'Somebody put another one in its place under the same version: find out who, and why. `slipway lock --update <server>` takes it as it is now.',
	),
	SLIPWAY_PREPARATION_FAILED: row(
		502,
		RPC_CODES.failed,
		'warn',
		'The image of the server could not be made.',
		'See `data.log`; /status shows it too.',
		true,
	),
	SLIPWAY_PREPARATION_TIMEOUT: row(
		504,
		RPC_CODES.failed,
		'warn',
		'The image of the server is not ready yet.',
		'Try again later; /status shows how far it is.',
		true,
	),
	SLIPWAY_MOUNT_REFUSED: row(
		502,
		RPC_CODES.failed,
		'warn',
		'A folder that the server needs cannot be mounted.',
		'See `data.reason`.',
	),
	SLIPWAY_SECRET_MISSING: row(
		502,
		RPC_CODES.failed,
		'warn',
		'A secret is not there.',
		'Give the secret that `data.reason` names; docs/secrets.md says where.',
	),
	SLIPWAY_SECRET_INVALID: row(
		502,
		RPC_CODES.failed,
		'warn',
		'A secret cannot be used.',
		'See `data.reason`; docs/secrets.md says what a secret may be.',
	),
	SLIPWAY_SPEC_DRIFT: row(
		502,
		RPC_CODES.failed,
		'error',
		'The engine made the container other than it was asked to, so it was not started.',
		'See `data.reason`; look for daemon defaults or plugins that change containers.',
	),

	// What is not there.
	SLIPWAY_ENGINE_UNREACHABLE: row(
		503,
		RPC_CODES.unavailable,
		'warn',
		'The Docker Engine does not answer.',
		'See `docker compose logs launcher` for the reason; it recovers by itself.',
		true,
	),
	SLIPWAY_ENGINE_FAILED: row(
		503,
		RPC_CODES.unavailable,
		'error',
		'The Docker Engine refused a request.',
		'See `docker compose logs launcher`.',
		true,
	),
	SLIPWAY_EGRESS_UNAVAILABLE: row(
		503,
		RPC_CODES.unavailable,
		'warn',
		'The server may reach hosts through the egress role alone, and that is not there.',
		'See `docker compose ps egress` and its logs; without compose run the role `all` in a container.',
		true,
	),
	SLIPWAY_LAUNCHER_UNREACHABLE: row(
		503,
		RPC_CODES.unavailable,
		'warn',
		'The launcher does not answer.',
		'See `docker compose ps launcher` and its logs; it recovers by itself.',
		true,
	),
	SLIPWAY_ISSUER_UNREACHABLE: row(
		503,
		RPC_CODES.unavailable,
		'warn',
		'The authorization server cannot be asked for the keys of its tokens.',
		'Look whether the gateway reaches the issuer; it recovers by itself.',
		true,
	),
	SLIPWAY_AUDIT_FAILED: row(
		503,
		RPC_CODES.unavailable,
		'error',
		'The audit cannot be written, and no call may go unrecorded.',
		'Make room on the disk of SLIPWAY_AUDIT_DIR, or have the folder belong to user 10001; the log says what is wrong with it.',
		true,
	),
	SLIPWAY_DRAINING: row(
		503,
		RPC_CODES.unavailable,
		'info',
		'The gateway is shutting down.',
		'Try again as Retry-After says.',
		true,
	),
	SLIPWAY_INTERNAL: row(
		500,
		RPC_CODES.internal,
		'error',
		'Something went wrong in the gateway.',
		'See the log by the request id.',
	),

	// What keeps Slipway itself from starting. These end a process with exit code 1 or 2.
	SLIPWAY_CONFIG_INVALID: row(
		500,
		RPC_CODES.internal,
		'error',
		'A setting is wrong.',
		'Correct the setting that the message names; docs/config.md lists all.',
	),
	// At the command line.
	SLIPWAY_GATEWAY_UNREACHABLE: row(
		503,
		RPC_CODES.unavailable,
		'error',
		'The gateway does not answer.',
		'Start it (`docker compose up -d --wait`), or say where it is: `--url`, or SLIPWAY_URL.',
		true,
	),
	SLIPWAY_CALL_REFUSED: row(
		400,
		RPC_CODES.invalidParams,
		'info',
		'The server answered the call with an error.',
		'`slipway call <server>` lists its tools and their arguments; `slipway logs <server>` has what it said beside that.',
	),
	SLIPWAY_CLIENT_FILE: row(
		500,
		RPC_CODES.failed,
		'error',
		'The configuration cannot be written or read.',
		'Correct what the message names; the file is as it was. Without `--write` it is printed.',
	),
	SLIPWAY_KEY_REQUIRED: row(
		401,
		RPC_CODES.unauthenticated,
		'error',
		'There is no key to ask the gateway with.',
		'Name a file that holds one: `--key-file`, or SLIPWAY_API_KEY_FILE. Beside the data of a gateway that was started once (SLIPWAY_DATA) none is needed.',
	),
	SLIPWAY_CATALOG_INVALID: row(
		500,
		RPC_CODES.internal,
		'error',
		'The catalog is wrong.',
		'Correct the place that the message names; catalog.schema.json helps an editor to.',
	),

	// What an edit of the catalog cannot do.
	SLIPWAY_CATALOG_UNWRITABLE: row(
		500,
		RPC_CODES.internal,
		'error',
		'The catalog cannot be written.',
		'See `data.reason`; the catalog is as it was.',
	),
	SLIPWAY_IMPORT_INVALID: row(
		400,
		RPC_CODES.invalidParams,
		'info',
		'The text is no configuration that can be imported.',
		'Correct the place that the message names, or say which format it is.',
	),
	SLIPWAY_LOCK_INVALID: row(
		500,
		RPC_CODES.internal,
		'error',
		'The lock of the catalog is wrong.',
		'Bring the file back as it was, or remove it and have `slipway lock` write another.',
	),
});

export type ErrorCode = keyof typeof ERRORS;

/** What may be told about an error. An allowlist: nothing else reaches a client or a log. */
export interface ErrorDetails {
	readonly server?: string;
	readonly reason?: string;
	readonly exitCode?: number;
	readonly stderr?: string;
	readonly log?: string;
	/** The revisions that are spoken, and the one that was asked for. */
	readonly supported?: readonly string[];
	readonly requested?: string;
	/** What the client would have to be able to do, as `ClientCapabilities`. */
	readonly requiredCapabilities?: object;
	/** The scopes that the request needs, all of them. */
	readonly scopes?: readonly string[];
	readonly retryAfterSeconds?: number;
}

/** An operating error of the table. Programmer errors are assertions and end the process. */
export class SlipwayError extends Error {
	readonly code: ErrorCode;
	readonly details: ErrorDetails;

	constructor(code: ErrorCode, details: ErrorDetails = {}, options: { cause?: unknown } = {}) {
		super(details.reason === undefined ? ERRORS[code].sentence : `${ERRORS[code].sentence} ${details.reason}`, options);
		this.name = 'SlipwayError';
		this.code = code;
		this.details = details;
	}

	get row(): ErrorRow {
		return ERRORS[this.code];
	}
}

/** The error itself when it is one of the table, and otherwise SLIPWAY_INTERNAL with it as the cause. */
export function toSlipwayError(error: unknown): SlipwayError {
	return error instanceof SlipwayError ? error : new SlipwayError('SLIPWAY_INTERNAL', {}, { cause: error });
}

/** An error as it crosses the seam between launcher and gateway. */
export interface ErrorRecord {
	readonly code: ErrorCode;
	readonly details: ErrorDetails;
}

export function toErrorRecord(error: SlipwayError): ErrorRecord {
	return { code: error.code, details: error.details };
}

export function fromErrorRecord(record: ErrorRecord): SlipwayError {
	return new SlipwayError(Object.hasOwn(ERRORS, record.code) ? record.code : 'SLIPWAY_INTERNAL', record.details);
}
