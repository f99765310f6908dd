/**
 * The seam on the wire: HTTP on a unix socket. What both ends must agree on, and nothing else.
 *
 *   GET  /v1/state                    the state, one JSON a line, pushed at every change and as a heartbeat
 *   GET  /v1/report                   the Instances, as JSON
 *   GET  /v1/stderr?…                 what servers write on stderr, one line of it as JSON a line; an end where it is not followed
 *   POST /v1/launch/<server>          Upgrade: 101 with the Instance's id and spec, then its stdin and stdout as they are. Says for
 *                                     whom in a header, in at most LAUNCHER_LIMITS.callerCharsMax characters
 *   GET  /v1/instances/<id>/end       how it ended, as JSON, as soon as it did
 *   POST /v1/instances/<id>/stop      ends it; answered when it is gone. ?patience=prompt|patient
 *
 * One request a connection: a second one cuts it. Errors are { code, details } of the error table with its HTTP status.
 */

export const UPGRADE_PROTOCOL = 'slipway-stdio';
export const INSTANCE_HEADER = 'slipway-instance';
export const SPEC_HEADER = 'slipway-spec';
export const CALLER_HEADER = 'slipway-caller';

export const PATHS = Object.freeze({
	state: '/v1/state',
	report: '/v1/report',
	stderr: ({ server, tail, follow }: { readonly server?: string; readonly tail: number; readonly follow: boolean }) =>
		`/v1/stderr?tail=${tail}&follow=${follow}${server === undefined ? '' : `&server=${server}`}`,
	launch: (server: string) => `/v1/launch/${encodeURIComponent(server)}`,
	end: (instance: string) => `/v1/instances/${instance}/end`,
	stop: (instance: string, patience: string) => `/v1/instances/${instance}/stop?patience=${patience}`,
});

export const ROUTES = Object.freeze({
	stderr: /^\/v1\/stderr\?tail=(\d{1,4})&follow=(true|false)(?:&server=([a-z0-9-]{1,64}))?$/,
	launch: /^\/v1\/launch\/([^/?]+)$/,
	end: /^\/v1\/instances\/([0-9a-f-]{36})\/end$/,
	stop: /^\/v1\/instances\/([0-9a-f-]{36})\/stop\?patience=(prompt|patient)$/,
});
