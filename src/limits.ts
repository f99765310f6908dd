/**
 * Every bound of Slipway, in one place, each with its unit in its name.
 *
 * A bound that an operator may move is a setting (config.ts) whose default stands here.
 * Nothing else in the tree holds a number that limits anything.
 */

const KIB = 1024;
const MIB = 1024 * KIB;
const SERVERS_MAX = 256;

/** What a client may send, and how slowly. */
export const HTTP_LIMITS = Object.freeze({
	headerBytesMax: 16 * KIB,
	headerCountMax: 64,
	bodyBytesMax: 4 * MIB,
	/** Depth of objects and arrays in a request body; deeper documents have no use and cost a stack. */
	jsonDepthMax: 64,
	/** Messages in one batch (revision 2025-03-26 alone has batches). The SDK's own bound. */
	batchMessagesMax: 100,
	connectionsMax: 3000,
	requestsPerSocketMax: 1000,
	headersTimeoutMs: 10_000,
	requestTimeoutMs: 30_000,
	keepAliveTimeoutMs: 5_000,
	connectionsCheckingIntervalMs: 1_000,
	/** How long the rest of a refused body is thrown away before the connection is cut. */
	lingerMs: 1_000,
	/** How often it is looked whether a certificate has changed. */
	certificatePollMs: 5_000,
	/** How long a browser need not ask again what a page may send. */
	preflightAgeMs: 10 * 60_000,
	/** How long a browser that came by TLS comes by nothing else. */
	transportSecurityMs: 365 * 24 * 60 * 60_000,
	sessionIdCharsMax: 128,
	requestIdCharsMax: 64,
	/** Admin routes (status, metrics), for each principal or address. */
	adminRequestsPerMinuteMax: 600,
	/** What servers write on stderr, followed: streams of one caller, and of all. Fewer than the launcher serves. */
	logStreamsPerCallerMax: 8,
	logStreamsMax: 32,
	/** Lines that came before it was asked for, where nothing is said of them. */
	logTailLinesMax: 100,
});

/** Server-sent events to a client. */
export const SSE_LIMITS = Object.freeze({
	/** Bytes buffered for one client before its source is paused. */
	bufferedBytesMax: 1 * MIB,
	/** The same while much waits for others. */
	crowdedBytesMax: 64 * KIB,
	/**
	 * What waits for all clients together, streams and answers. Text takes up to twice as much in the heap, of which there are
	 * 256 MiB in the container of compose.yaml.
	 */
	allBufferedBytesMax: 64 * MIB,
	/** A client that takes nothing for so long is cut. */
	stallMs: 30_000,
	keepAliveMs: 15_000,
	/** A request that has no answer yet is given a stream after so long, so that its client sees life. */
	openAfterMs: 5_000,
	/** Messages and bytes kept for a session whose GET stream is not open yet. */
	queuedMessagesMax: 256,
	queuedBytesMax: 1 * MIB,
});

/** What is kept of streams, for clients whose connection broke. */
export const REPLAY_LIMITS = Object.freeze({
	/** For one session. */
	sessionEventsMax: 256,
	sessionBytesMax: 1 * MIB,
	streamsMax: 64,
	ageMsMax: 5 * 60_000,
	/** For all sessions together. */
	totalBytesMax: 64 * MIB,
});

/** The stdio of an Instance. */
export const STDIO_LIMITS = Object.freeze({
	/** A line of stdout; the SDK's own bound. */
	lineBytesMax: 10 * MIB,
	/** A frame of the Engine's attach stream. dockerd sends 32 KiB at most. */
	frameBytesMax: 1 * MIB,
	/** What may wait for a server that does not read its stdin. */
	stdinQueuedBytesMax: 4 * MIB,
	stdinStallMs: 30_000,
	/** Calls that run out of time without a byte from the server, each sent after the one before did: then it is ended. */
	silentTimeoutsMax: 2,
	/** Lines on stdout that are no JSON-RPC, in a window, before the Instance is ended. */
	noiseLinesMax: 100,
	noiseWindowMs: 10_000,
	/** Such lines of one Instance that the log tells of. */
	noiseToldMax: 3,
	stderrRingBytesMax: 64 * KIB,
	/** How exactly it is known when a byte of it came, and of how many times that is known. */
	stderrMarkMs: 100,
	stderrMarksMax: 1024,
	/** A line of it that has not ended is told when it is longer. */
	stderrLineBytesMax: 4 * KIB,
	/** The tail of stderr that goes into an error or into /status. */
	stderrTailCharsMax: 2 * KIB,
});

/** Sessions and the calls in them. */
export const SESSION_LIMITS = Object.freeze({
	/** Of the hash of a session's id, in the audit. */
	markCharsMax: 16,
	sessionsMax: 2000,
	sessionsPerPrincipalMax: 64,
	idleMs: 30 * 60_000,
	absoluteMs: 24 * 60 * 60_000,
	/** A session idle for so long and with no stream open may be ended to make room for a new one. */
	evictableAfterMs: 60_000,
	inFlightMax: 32,
	/** Requests in flight that last as long as their client wants (subscriptions/listen), beside those. */
	lastingMax: 64,
	/** A session with a longer `initialize` does not outlive the process. */
	keptInitializeCharsMax: 64 * KIB,
	/** How often it is noted of sessions that they are in use, and those that are too old are forgotten. */
	noteIntervalMs: 60_000,
	/** Questions of a server that its client has not answered yet. */
	questionsMax: 128,
	callTimeoutMs: 60_000,
	/** No call lasts longer, whatever progress it reports and whomever it asks. */
	callTimeoutMsMax: 10 * 60_000,
	/** How often deadlines are looked at; one timer for all sessions. */
	tickMs: 1_000,
});

/** An Instance that several sessions use. Each of them has the bounds of a session in it. */
export const SHARING_LIMITS = Object.freeze({
	/** Calls in flight in one Instance, of all that use it. */
	inFlightMax: 128,
	/** Requests in flight there that last as long as their client wants, beside those: two for each session that may be. */
	lastingMax: 4096,
	/** Resources that one Instance is subscribed to, for all that use it. */
	subscriptionsMax: 4096,
	/** When every replica has more calls in flight than this, one more is started, if one more may be. */
	busyCallsMax: 8,
	/** A replica that could not be started is not tried again sooner, as long as there is another. */
	retryAfterMs: 10_000,
});

/** Requests of the second era to servers of the first, and the other way around. */
export const BRIDGE_LIMITS = Object.freeze({
	/** Questions that a server asks at once come in one answer; they are waited for so long. */
	gatherMs: 20,
	/** Calls of one caller to one server whose client was asked something; the oldest goes first. Fewer than inFlightMax. */
	parkedMax: 24,
	/** With so many, questions that come at once are put with one call: to lose the oldest would be worse than that. */
	parkedApartMax: 12,
	/** How long a client has to answer. */
	parkedMs: 5 * 60_000,
	/** Questions of a server that wait for a call to be asked with. */
	waitingQuestionsMax: 16,
	waitingQuestionMs: 60_000,
	/** Rounds of questions in one call. */
	roundsMax: 32,
	/** Arguments of a tool that are repeated in headers, and how deep in its schema they are looked for. */
	headerParamsMax: 32,
	schemaDepthMax: 8,
	/** Resources that one listener may name, and a caller's subscriptions to one server. */
	subscriptionsMax: 256,
});

/** Many servers as one. */
export const AGGREGATE_LIMITS = Object.freeze({
	/** A list waits so long for servers that are not there; they are told of when they come. */
	listWaitMs: 10_000,
	/** A server that could not be started is not tried again sooner, but for a call of its own. */
	retryAfterMs: 10_000,
	/** Pages that are followed of one server's list. */
	pagesMax: 64,
	/** Resources, templates and tasks of one server whose owner is remembered. */
	rememberedMax: 4096,
});

/** Instances over time. */
export const INSTANCE_LIMITS = Object.freeze({
	instancesMax: 32,
	/** Of all servers together: more than an engine starts, so that only what goes round in circles meets it. */
	startsPerMinuteMax: 1200,
	/** Starts at a time: as many as there are cores, and no fewer. */
	concurrentStartsMin: 2,
	startsQueuedMax: 64,
	/**
	 * From create to the answer to `initialize`; the preparation of an image does not count. With the time that
	 * ending such a server takes, its client hears of it within 30 s.
	 */
	startTimeoutMs: 25_000,
	/** A server that does not answer a question of the other era for so long is taken for one that never will. */
	probeTimeoutMs: 8_000,
	/** What is repeated of a server's words when it refuses the handshake. */
	refusalCharsMax: 300,
	/** An Instance whose session does not call it for so long is stopped; the next call gets another one. */
	idleStopMs: 5 * 60_000,
	/** An Instance that nobody calls, and somebody is subscribed to, is not tried to be had again sooner. */
	subscribedRetryMs: 10_000,
	/** How long a caller waits for the preparation of an image. */
	preparationWaitMs: 10 * 60_000,
	stopEofMs: 5_000,
	stopTermMs: 3_000,
	/** The same two when someone waits for the end (DELETE, drain). */
	promptStopEofMs: 300,
	promptStopTermMs: 2_000,
	/** How long ended Instances are remembered, for their cause and stderr. */
	endedKeptMax: 64,
});

/** Servers that do not come up, or die soon. */
export const CRASH_LIMITS = Object.freeze({
	/** The longest wait after the first failure; it doubles with each. What is waited is a random part of it. */
	backoffMsMin: 250,
	backoffMsMax: 30_000,
	/** A server that lived so long after its handshake is well. */
	healthyMs: 60_000,
	/** So many failures within the window open the circuit. */
	failuresMax: 5,
	failuresWindowMs: 60_000,
	openMs: 30_000,
	/** What only a change of the catalog or of the host helps is told again for so long without a start. */
	permanentFaultMs: 3_000,
});

/** Instances that are started before anybody asks. */
export const WARM_LIMITS = Object.freeze({
	/** By the limits of their containers, all together. */
	bytesMax: 1024 * MIB,
	/** Of one server, where the catalog does not say. */
	perServerMax: 4,
	/** Starts of a server that are wanted within so long are a burst. */
	burstMs: 5_000,
	startsRememberedMax: 64,
	/** A server that does not wait, or does not start, is not started ahead again sooner. */
	retryAfterMs: 10 * 60_000,
	/** Nothing is started ahead for so long after there was no room. */
	pauseMs: 30_000,
	/** In which a server has to say what it has, in the words of one era. */
	introductionTimeoutMs: 60_000,
	/** What a server may say before it is spoken to. */
	earlyBytesMax: 64 * KIB,
});

/** Who may use what. */
export const POLICY_LIMITS = Object.freeze({
	/** Of one caller. */
	scopesMax: 256,
	scopeCharsMax: 256,
	keysMax: 1000,
	keyNameCharsMax: 64,
	/** Of one caller at one server, where neither its key nor the catalog says otherwise. */
	callsPerMinuteMax: 100,
	callsPerMinuteSaidMax: 1_000_000,
	/** Authentications of one address that failed; of IPv6, of one /64. */
	failuresPerMinuteMax: 60,
	/** Addresses that are told apart for that. */
	failingSitesMax: 4096,
	/** A longer key is found by no number of guesses: 32 characters are 128 bits even if they are but hexadecimal. */
	guessableCharsMax: 31,
	/** Another process may change keys; it is looked for so often. */
	keysPollMs: 250,
});

/** How much callers may have at once, and in a minute. */
export const BUDGET_LIMITS = Object.freeze({
	/** Calls in flight of one caller, at all servers together. */
	callsInFlightMax: 256,
	callsInFlightSaidMax: 10_000,
	/** Containers of one caller, of all servers together: three quarters of what there may be. */
	containersMax: 24,
	containersSaidMax: 1000,
	/** What one caller may send in a minute. */
	bytesPerMinuteMax: 1024 * MIB,
	bytesPerMinuteSaidMax: 1024 * 1024 * MIB,
	retryAfterMs: 1_000,
	/** Who has all the containers that it may is to come again after so long. */
	containersRetryAfterMs: 60_000,
});

/** The input schemas of tools, which servers write, and what operators add to them. */
export const SCHEMA_LIMITS = Object.freeze({
	schemaCharsMax: 64 * KIB,
	schemaDepthMax: 64,
	/** Of one build of a server; calls of the others are not looked at. */
	toolsMax: 512,
	serverCharsMax: 1 * MIB,
	/** Of schemas in one list that were otherwise in the list before: each conversation may have been given its own. */
	changedCharsMax: 16 * KIB,
	/** Pages of a list that one conversation was given. */
	pagesMax: 64,
	serversMax: 2 * SERVERS_MAX,
	/** Schemas that are compiled, of all servers; the one that was not used for longest goes first. */
	compiledMax: 512,
	/** For one schema, and for one look at the arguments of one call that may take long. */
	compileMs: 250,
	lookMs: 100,
	/** Of the schemas of one server in a minute, all together; beyond that its calls are not looked at. */
	msPerMinuteMax: 3_000,
	/** A schema with which it took too long so often is given up. */
	lateMax: 3,
	/** Characters of the schema times those of the request, to which a look is known to be short without a clock. */
	quickWorkMax: 4 * MIB,
	/** What is said of what is wrong. */
	objectionCharsMax: 400,
});

/** What servers said of themselves. */
export const SNAPSHOT_LIMITS = Object.freeze({
	/** Of one Snapshot. */
	charsMax: 1 * MIB,
	pagesMax: 64,
	/** Kinds of clients, of all callers, that one build of a server was seen by; who was seen longest ago goes first. */
	kindsMax: 64,
	/** Builds of servers; who was seen longest ago goes first. */
	buildsMax: 2 * SERVERS_MAX,
	/** What has not changed for so long is learned anew by the next process: builds go, and nobody says so. */
	ageMsMax: 30 * 24 * 60 * 60_000,
});

/** Definitions of tools that are pinned. */
export const PIN_LIMITS = Object.freeze({
	/** Of one server, those that it has no more among them. What comes beyond is hidden. */
	toolsMax: 1024,
	toolNameCharsMax: 256,
	/** Of one definition, as canonical JSON. */
	definitionBytesMax: 64 * KIB,
	definitionDepthMax: 64,
	/** What is told of why one is refused. */
	flawCharsMax: 300,
	differenceLinesMax: 200,
	differenceContextCharsMax: 40,
	/** Names of tools that /status tells of one server, in each list. */
	namesToldMax: 32,
	/** A server that says something else with each list is told of in the log no more often than this. */
	noteIntervalMs: 60_000,
});

/** The Docker Engine. */
export const ENGINE_LIMITS = Object.freeze({
	/** Engine 26. Subpaths of volumes came with it, and an older one would mount the whole volume without a word. */
	apiVersionMin: '1.45',
	/** Also how long an answer is waited for that broke off in the middle, since dockerode does not tell of it. */
	requestTimeoutMs: 15_000,
	pingIntervalMs: 500,
	pingTimeoutMs: 1_200,
	sweepIntervalMs: 60_000,
	/** An out-of-memory event may come so long after the exit that it explains. */
	oomEventLagMs: 150,
	/** After the end of a stream the Engine is given so long to say why. */
	exitReportMs: 1_000,
});

/** Images made from packages. */
export const PREPARATION_LIMITS = Object.freeze({
	concurrentMax: 2,
	resolveTimeoutMs: 120_000,
	buildTimeoutMs: 10 * 60_000,
	pullTimeoutMs: 10 * 60_000,
	lockBytesMax: 8 * MIB,
	/** Of the container in which Python packages are resolved and fetched: its memory, and the files that are in it. */
	fetchMemoryBytesMax: 2048 * MIB,
	fetchedBytesMax: 1536 * MIB,
	/** The folder of wheels that packages are taken from without a network. */
	wheelsBytesMax: 512 * MIB,
	wheelsMax: 2000,
	credentialsBytesMax: 64 * KIB,
	/** Memory of the containers in which packages are resolved and installed. */
	resolveMemoryBytesMax: 1024 * MIB,
	installMemoryBytesMax: 2048 * MIB,
	openFilesMax: 8192,
	/** A folder or an archive beside the catalog. */
	localFilesMax: 10_000,
	localBytesMax: 64 * MIB,
	/** The folder that takes the place of a registry. */
	offlineFilesMax: 8192,
	offlineBytesMax: 2048 * MIB,
	/** What an installed package and its dependencies may be. */
	treeFilesMax: 500_000,
	treeBytesMax: 4096 * MIB,
	/** What an installation says of itself before its files. */
	entryBytesMax: 16 * KIB,
	/** An image of a package that nobody needs is removed when it is so old; it is looked for so often. */
	unusedImageAgeMs: 7 * 24 * 60 * 60_000,
	collectIntervalMs: 24 * 60 * 60_000,
	logTailCharsMax: 4 * KIB,
	/** A failed preparation is tried again when someone asks, but not sooner than this. */
	retryAfterMs: 10_000,
});

/** The catalog file. */
export const CATALOG_LIMITS = Object.freeze({
	fileBytesMax: 1 * MIB,
	serversMax: SERVERS_MAX,
	groupsMax: 64,
	/** A group may have every server. */
	serversPerGroupMax: SERVERS_MAX,
	/** Of the hash of a field. */
	fingerprintCharsMax: 16,
	reloadDelayMs: 200,
	/** Bind mounts of single files and some network disks send no events; the file's state is looked at too. */
	pollIntervalMs: 2_000,
	/** Depth of objects and arrays in the file. The form itself needs six. */
	jsonDepthMax: 32,
	/** Problems told of one file; the rest are counted. */
	problemsMax: 10,
	/** What is repeated of a wrong value in a message. */
	quotedCharsMax: 80,
	titleCharsMax: 100,
	descriptionCharsMax: 1000,
	/** npm's own bound for the name of a package. */
	packageNameCharsMax: 214,
	packageVersionCharsMax: 256,
	imageReferenceCharsMax: 512,
	/** Python packages that are installed with another. */
	packagesWithMax: 32,
	/** catalog.lock.json. */
	lockFileBytesMax: 16 * MIB,
	/** The name of a program of a package. */
	binCharsMax: 128,
	systemPackagesMax: 32,
	/** Words of `command` and of `args`, each. */
	wordsMax: 128,
	wordCharsMax: 4 * KIB,
	envMax: 128,
	envNameCharsMax: 128,
	envValueCharsMax: 32 * KIB,
	volumesMax: 16,
	mountsMax: 16,
	pathCharsMax: 1024,
	egressMax: 64,
	/** DNS's own bound, as text and without the dot at the end. */
	hostNameCharsMax: 253,
	/** A name with what stands before and after it. */
	egressCharsMax: 264,
	/** Below are the users of hosts and of images. */
	userIdMin: 10_000,
	/** The Engine's own bound. */
	userIdMax: 2_147_483_647,
	callTimeoutMsMin: 1_000,
	idleStopMsMin: 1_000,
	replicasMax: 16,
	warmMax: 16,
	toolPatternsMax: 256,
	toolPatternCharsMax: 128,
});

/** The catalog as programs write it. */
export const EDIT_LIMITS = Object.freeze({
	/** How long somebody waits while another program writes, and how often it is looked whether that is over. */
	lockTimeoutMs: 5_000,
	lockPollMs: 20,
	/** Somebody who takes no lock may write at the same moment; the edit is made anew so often. */
	triesMax: 5,
});

/** Configurations in other formats. */
export const IMPORT_LIMITS = Object.freeze({
	/** Those of clients that keep more than servers in theirs are several megabytes. */
	textCharsMax: 8 * MIB,
	/** Formats whose parsers take more time for each character. */
	slowTextCharsMax: 2 * MIB,
	/** Of one text: more than a catalog takes, since a person may choose among them. */
	serversMax: 1024,
	jsonDepthMax: 64,
	/** Of YAML, all together as it counts them. */
	aliasesMax: 100,
	/** Commands in commands: `cmd /c env A=b npx …`. */
	wrappersMax: 8,
	wordsMax: 512,
	wordCharsMax: 32 * KIB,
	/** Of a name that another format gives, as it is repeated. */
	nameCharsMax: 128,
});

/** Secrets of servers. */
export const SECRET_LIMITS = Object.freeze({
	/** Of one value. A variable of 128 KiB is the kernel's own bound. */
	valueBytesMax: 64 * KIB,
	/** Of one value: some shells take time in the square of that. */
	valueLinesMax: 4096,
	perServerMax: 32,
	/** Of the values of one server together: half of what the kernel takes of variables and arguments. */
	serverBytesMax: 1 * MIB,
	/** How often it is looked whether one is another now; a start looks by itself. */
	pollIntervalMs: 2_000,
	/** Shorter values are not looked for in stderr. */
	redactedBytesMin: 8,
	/** What is looked through of stderr, and shown at most: several times the tail, so that no work grows with the ring. */
	redactedWindowBytesMax: 16 * KIB,
	/** The files of one Instance are in memory; so are pages that are not full. */
	filesBytesMax: 2 * MIB,
});

/** The seam between gateway and launcher. */
export const LAUNCHER_LIMITS = Object.freeze({
	/** A state push is a whole state; they are sent no more often than this. */
	statePushIntervalMs: 100,
	/** A push with nothing new, so that a dead peer is noticed. */
	heartbeatMs: 1_000,
	silenceMsMax: 5_000,
	reconnectDelayMs: 250,
	/** What stands for a caller in the queue for starts. */
	callerCharsMax: 64,
	/**
	 * Connections that ask for something or have asked nothing yet, those that follow the state, and those that are told the
	 * Instances. Of each the latest are served; the first is as many as it takes to stop every Instance that may be at once.
	 */
	asksMax: 1100,
	followersMax: 8,
	reportsMax: 8,
	/** Connections that are told what servers write on stderr, and what may wait for one that reads too slowly. */
	stderrFollowersMax: 64,
	stderrWaitingBytesMax: 1 * MIB,
	/** What came meanwhile is told at once. */
	stderrIntervalMs: 100,
	/** Lines that came before it was asked for, at most. */
	stderrTailLinesMax: 1000,
	/** Launches that wait, for their image or for their turn: more than callers that the queue for starts has places for. */
	launchesMax: 1024,
	/** Connections of Instances that have ended, on which the last of what they said may still be read. */
	endedConnectionsMax: 64,
	/**
	 * A server that takes nothing of what waits for it for so long is ended. A gateway that lives has ended it before; of one
	 * that has died nobody hears as long as what it sent last is not read.
	 */
	stdinStallMs: 45_000,
	/** A connection that has not asked for anything whole by then is cut. */
	requestTimeoutMs: 10_000,
	connectionsCheckingIntervalMs: 1_000,
});

/** What servers may reach, and the proxy between. */
export const EGRESS_LIMITS = Object.freeze({
	connectionsMax: 512,
	/** Of the Instances of one server together. */
	connectionsPerServerMax: 64,
	headerBytesMax: 16 * KIB,
	headersTimeoutMs: 10_000,
	/** How long a name may take, all tries together, and one of them. */
	resolveTimeoutMs: 5_000,
	resolveTryTimeoutMs: 2_000,
	resolveTriesMax: 2,
	/** Of one name. With more it is refused, so that none is left unlooked at. */
	addressesMax: 64,
	/** Addresses of a name that are tried in turn, all within the time for one connection. */
	connectTriesMax: 4,
	connectTimeoutMs: 10_000,
	/** A connection on which nothing moves for so long is cut. */
	idleTimeoutMs: 5 * 60_000,
	/** How long a client that was refused may take to read why. */
	lingerMs: 1_000,
	/** What is remembered of one server's denials: the latest targets. */
	denialsKeptMax: 32,
	serversKeptMax: SERVERS_MAX,
	/** Of one server; the rest are counted. */
	logLinesPerMinuteMax: 10,
	/** Counts reach the launcher no more often than this. */
	reportIntervalMs: 250,
	/** One message between launcher and egress: a policy of every server with every line, or all that is remembered. */
	messageBytesMax: 16 * MIB,
	reconnectDelayMs: 250,
	/** A start waits so long for the role to be there and to have its rules. */
	readyTimeoutMs: 10_000,
	/** Networks that are tried for an address range of their own: as many as there are ranges. */
	subnetsMax: 256,
});

/** The end of a process. */
export const DRAIN_LIMITS = Object.freeze({
	inFlightMs: 20_000,
	/** How often it is looked whether the last call in flight has ended. */
	pollMs: 50,
	stopMs: 8_000,
	totalMs: 30_000,
});

/** Tokens of an OAuth issuer, and what is asked of the issuer itself. */
export const OAUTH_LIMITS = Object.freeze({
	/** A longer token is refused before anything of it is read. */
	tokenCharsMax: 8 * KIB,
	/** OpenID Connect's own bound for `sub`. */
	subjectCharsMax: 255,
	/** How far the clocks of issuer and gateway may be apart. */
	clockToleranceMs: 30_000,
	/** One look at the issuer: its metadata and its keys. */
	fetchTimeoutMs: 5_000,
	documentBytesMax: 256 * KIB,
	/** The issuer is not asked again sooner, whatever tokens come and whether it answered. */
	refetchCooldownMs: 10_000,
	/** Keys are asked for again when they are that old, since the issuer may have withdrawn one. */
	keysAgeMsMax: 10 * 60_000,
	/** Keys of an issuer that does not answer are used for so long. */
	keysStaleMsMax: 24 * 60 * 60_000,
	/** Tokens that were found good, and for how long they are taken for that without another look. */
	verifiedMax: 4096,
	verifiedMsMax: 60_000,
	/** The value of a WWW-Authenticate header. */
	challengeCharsMax: 4 * KIB,
});

/** What outlives the process. */
export const STORE_LIMITS = Object.freeze({
	/** How long somebody waits while another process writes. */
	lockTimeoutMs: 5_000,
});

/** Labels of metrics. */
export const METRIC_LIMITS = Object.freeze({
	toolsPerServerMax: 512,
	toolNameCharsMax: 128,
});

/** The health check of a container. */
export const HEALTH_LIMITS = Object.freeze({
	timeoutMs: 3_000,
});

/** The command line as a client of the gateway. */
export const GATEWAY_CLIENT_LIMITS = Object.freeze({
	/** A key of its own is good for so long, and is made good for as long again while the verb goes on. */
	keyMs: 5 * 60_000,
	keyRenewMs: 60_000,
	/** In which the gateway must have seen a new key. */
	keySeenMs: 5_000,
	/** To connect, and to begin an answer. */
	requestTimeoutMs: 30_000,
	answerBytesMax: 32 * MIB,
	/** Tools of one server, by pages. */
	pagesMax: 64,
	/** A stream of lines on which nothing comes for so long has broken off: more than one sign of life was missed. */
	silenceMsMax: 45_000,
	/** A configuration of a client that something is written into. */
	configurationBytesMax: 4 * MIB,
});

/** The command line. */
export const CLI_LIMITS = Object.freeze({
	/** How often the line of a step that is under way is written over. */
	progressIntervalMs: 100,
	/** What a trial left that is that old belongs to one that was killed. */
	trialAgeMsMax: 60 * 60_000,
	/** How often the deadlines of a trial are looked at. */
	trialTickMs: 200,
	/** Pages of one list that are asked for, and tools that are shown. */
	trialPagesMax: 64,
	trialToolsShownMax: 40,
	/** What is shown of a text that a server wrote of itself. */
	describedCharsMax: 100,
	/** Of a file with servers of another program. */
	importBytesMax: 8 * MIB,
	/** How long a gateway may take to serve what was written, and how often it is asked. */
	servedWaitMs: 15_000,
	servedPollMs: 100,
	/** How long the containers of a server that was removed may take to let go of its volumes. */
	volumeWaitMs: 60_000,
	/** What `doctor` waits for a container, and for a gateway. */
	doctorLaunchTimeoutMs: 30_000,
	doctorRequestTimeoutMs: 3_000,
	/** With less on a disk, it is told. */
	diskFreeBytesMin: 2 * 1024 * MIB,
	diskFullBytesMin: 256 * MIB,
	/** How far the clocks of the engine and of this process may be apart. */
	clockDriftMsMax: 2_000,
});

/** The audit: what is recorded, and how it is kept. */
export const AUDIT_LIMITS = Object.freeze({
	/** Of the shape of one call's arguments. */
	shapeMembersMax: 64,
	shapeDepthMax: 4,
	/** Of a tool, or of a member of arguments. */
	nameCharsMax: 128,
	/** Of the arguments of one call, as JSON, where they are recorded themselves; of more there is the shape. */
	valuesCharsMax: 16 * KIB,
	/** Names of servers that one change of the catalog tells. */
	catalogNamesMax: 64,
	/** Refusals of one kind and caller that are recorded one by one in a minute; the rest are counted. */
	refusalsPerMinuteMax: 60,
	/** Records that wait for the disk; beyond them they are lost, and counted. */
	pendingBytesMax: 8 * MIB,
	/** One write. */
	batchBytesMax: 256 * KIB,
	/** How much later than the write the disk itself has it, at most. */
	syncIntervalMs: 1_000,
	/** A disk that failed is tried again so often. */
	retryIntervalMs: 1_000,
	fileBytesMax: 16 * MIB,
	fileAgeMsMax: 24 * 60 * 60_000,
	/** Room that the command line makes sure of before an act. */
	actBytesMax: 4 * KIB,
	/** Processes that append to the chain of the command line at once. */
	appendTriesMax: 100,
});
