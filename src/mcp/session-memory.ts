/** What a session told its server of itself, so that another Instance, or another process, can be told it again. */
export interface SessionMemory {
	/** The client's `initialize`, as it sent it. */
	readonly initialize: string;
	/** The revision that was agreed on. */
	readonly revision: string;
	/** What its Instances were made of when it last heard of what the server has; empty where there are many servers. */
	readonly spec: string;
	/** The level of the client's `logging/setLevel`. */
	readonly logLevel: string | undefined;
	/** The resources that it is subscribed to, with the names of their servers. */
	readonly subscriptions: readonly (readonly [uri: string, server: string])[];
}
