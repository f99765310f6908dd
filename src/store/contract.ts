/** What outlives the gateway process. */
export interface Store {
	/** The SHA-256 of a caller's key, in hexadecimal, or undefined. */
	findKeyHash(principal: string): string | undefined;
	saveKeyHash(principal: string, hash: string): void;
	close(): void;
}
