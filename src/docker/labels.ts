/** The labels on everything that we make. Values are public to anyone with the socket: no secret, no session id. */
export const LABELS = Object.freeze({
	/** Whose it is: one deployment of Slipway on this engine. */
	gateway: 'dev.slipway.gateway',
	/** Which run of the launcher made it. */
	boot: 'dev.slipway.boot',
	server: 'dev.slipway.server',
	instance: 'dev.slipway.instance',
	/** On the container that the egress role runs in: the gateway that it is for. It is not made by us, and not swept. */
	egress: 'dev.slipway.egress',
	/** The hash of the container's specification. */
	spec: 'dev.slipway.spec',
	/** On images: the hash of what they were made of, before anything was resolved. */
	source: 'dev.slipway.source',
	/** On images: what the catalog's lock calls the source that it was made for. */
	key: 'dev.slipway.key',
	/** On images: the package, name@version. */
	package: 'dev.slipway.package',
	/** On images: the registry's integrity of the package. */
	integrity: 'dev.slipway.integrity',
	/** On images: the hash of the lock file, which has the integrity of every dependency. */
	lock: 'dev.slipway.lock',
});
