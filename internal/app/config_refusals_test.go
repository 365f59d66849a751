package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refusals: a file, and what is said about it.
var refusals = map[string]struct{ file, want string }{
	// The lease.
	"renew too long":  {"lease: {duration: 5s, renew: 2s}\n", `h.yaml:1: lease.renew: 2s is too long for a lease of 5s: want at most a third of it`},
	"lease too short": {"lease: {duration: 10ms}\n", `h.yaml:1: lease.duration: 10ms is out of range: want 1s to 1h`},
	"one close":       {"one_close: maybe\n", `h.yaml:1: one_close: "maybe" is unknown: want required or best_effort`},
	// The form of the file.
	"not YAML":       {"listen: [\n", `h.yaml:1: sequence end token ']' not found`},
	"key twice":      {"data_dir: a\ndata_dir: b\n", `h.yaml:2: mapping key "data_dir" already defined at [1:1]`},
	"two documents":  {"data_dir: a\n---\ndata_dir: b\n", `h.yaml:2: a second document: want one`},
	"a list":         {"- a\n", `h.yaml:1: a list: want a mapping with the keys listen, clients, control, ops, nats, cluster, data_dir, drain, lease, one_close, memory, log, namespaces, endpoints`},
	"a word":         {"hello\n", `h.yaml:1: "hello" is text: want a mapping with the keys listen, clients, control, ops, nats, cluster, data_dir, drain, lease, one_close, memory, log, namespaces, endpoints`},
	"unknown key":    {"\nleases: {duration: 10s}\n", `h.yaml:2: leases: unknown key: known here are listen, clients, control, ops, nats, cluster, data_dir, drain, lease, one_close, memory, log, namespaces, endpoints`},
	"switch":         {"demo: true\n", `h.yaml:1: demo: unknown key: known here are listen, clients, control, ops, nats, cluster, data_dir, drain, lease, one_close, memory, log, namespaces, endpoints`},
	"unknown below":  {"ops:\n  auth: {}\n", `h.yaml:2: ops.auth: unknown key: known here are listen`},
	"in an endpoint": {"endpoints:\n- path: /\n  limit: 1\n", `h.yaml:3: endpoints[0].limit: unknown key: known here are path, namespace, subprotocols, subprotocol_required, origins, admission, compression, heartbeat, limits, rates, events, event_attributes, keep_headers, start_paused`},
	"several":        {"x: 1\ndata_dir: 7\n", "h.yaml:1: x: unknown key: known here are listen, clients, control, ops, nats, cluster, data_dir, drain, lease, one_close, memory, log, namespaces, endpoints\nh.yaml:2: data_dir: 7 is a number: want text"},
	"empty value":    {"endpoints:\n- origins:\n", `h.yaml:2: endpoints[0].origins: empty: want a list, or no such key for the default`},
	"no anchor":      {"endpoints: [*a]\n", `h.yaml:1: endpoints[0]: *a has no anchor &a before it`},
	"anchor in it":   {"endpoints: &a [*a]\n", `h.yaml:1: endpoints[0]: *a has no anchor &a before it`},
	"tag":            {"data_dir: !!str 7\n", `h.yaml:1: data_dir: !!str is a tag: want text`},

	// Types.
	"number for text":     {"endpoints:\n- path: 7\n", `h.yaml:2: endpoints[0].path: 7 is a number: want text`},
	"word for a list":     {"listen: \":8080\"\n", `h.yaml:1: listen: ":8080" is text: want a list`},
	"list for a word":     {"data_dir: [a]\n", `h.yaml:1: data_dir: a list: want text`},
	"mapping for a word":  {"data_dir: {a: b}\n", `h.yaml:1: data_dir: a mapping: want text`},
	"word for a mapping":  {"drain: 30s\n", `h.yaml:1: drain: "30s" is text: want a mapping with the keys timeout, delay`},
	"list for an address": {"listen: [[a]]\n", `h.yaml:1: listen[0]: a list: want an address such as ":8080", or a mapping with the keys address, mode, tls, proxy_protocol`},
	"word for TLS":        {"listen: [{address: \":1\", tls: yes}]\n", `h.yaml:1: listen[0].tls: "yes" is text: want a mapping with the keys cert, key, client_ca`},
	"yes for true":        {"endpoints:\n- start_paused: yes\n", `h.yaml:2: endpoints[0].start_paused: "yes" is text: want true or false`},
	"fraction":            {"endpoints:\n- limits: {fragments: 1.5}\n", `h.yaml:2: endpoints[0].limits.fragments: "1.5" is not a whole number`},
	"size without unit":   {"endpoints:\n- limits:\n    message_size: 1\n", `h.yaml:3: endpoints[0].limits.message_size: "1" is not a size: want a whole number with a unit B, KiB, MiB or GiB, such as 1MiB`},
	"time without unit":   {"drain: {timeout: 30}\n", `h.yaml:1: drain.timeout: "30" is not a time: want a number with a unit ms, s, m or h, such as 30s`},
	"log level":           {"log: {level: INFO}\n", `h.yaml:1: log.level: "INFO" is not a log level: want debug, info, warn or error`},

	// The broker.
	"no address":         {"listen: []\n", `h.yaml:1: listen: empty: want at least one address, such as ":8080"`},
	"port alone":         {"listen: [8080]\n", `h.yaml:1: listen[0]: "8080" is not an address: want "host:port", ":port" or "unix:/path"`},
	"port name":          {"control: {listen: \"127.0.0.1:http\"}\n", `h.yaml:1: control.listen: "127.0.0.1:http" is not an address: want "host:port" or ":port"`},
	"port too high":      {"nats: {listen: \"127.0.0.1:65536\"}\n", `h.yaml:1: nats.listen: "127.0.0.1:65536" is not an address: want "host:port" or ":port"`},
	"mode of a port":     {"listen: [{address: \":1\", mode: 0600}]\n", `h.yaml:1: listen[0].mode: 0600 is for a Unix socket, and ":1" is none: want no mode`},
	"no mode":            {"listen: [{address: \"unix:/a\", mode: 0888}]\n", `h.yaml:1: listen[0].mode: "0888" is not a file mode: want octal digits such as 0660`},
	"mode behind it":     {"listen: [\"unix:/a?mode=rw\"]\n", `h.yaml:1: listen[0]: "rw" is not a file mode: want octal digits such as 0660`},
	"connections":        {"clients: {connections: -1}\n", `h.yaml:1: clients.connections: -1 is out of range: want 0 to 16777216`},
	"handshakes":         {"clients: {handshakes: -1}\n", `h.yaml:1: clients.handshakes: -1 is out of range: want 0 to 16777216`},
	"handshake timeout":  {"clients: {handshake_timeout: 0s}\n", `h.yaml:1: clients.handshake_timeout: 0s is out of range: want 100ms to 1h`},
	"relative socket":    {"listen: [unix:a.sock]\n", `h.yaml:1: listen[0]: "unix:a.sock" is not an address: want "unix:" and an absolute path of at most 107 bytes`},
	"control for all":    {"control: {listen: \":7400\"}\n", `h.yaml:1: control.listen: ":7400" can be reached from other machines, and calls are not authenticated: want a loopback address such as 127.0.0.1, or --insecure-control`},
	"NATS for all":       {"nats: {listen: \"0.0.0.0:4222\"}\n", `h.yaml:1: nats.listen: "0.0.0.0:4222" can be reached from other machines, and clients of the embedded server are not authenticated: want nats.users, a loopback address such as 127.0.0.1, or --insecure-nats`},
	"ops for all":        {"ops: {listen: \"[::]:7401\"}\n", `h.yaml:1: ops.listen: "[::]:7401" can be reached from other machines, and requests are not authenticated: want a loopback address such as 127.0.0.1, or --insecure-ops`},
	"address twice":      {"listen: [\":8080\", \"127.0.0.1:08080\"]\n", `h.yaml:1: listen[1]: "127.0.0.1:08080" is taken by listen[0] (":8080"): want an address of its own`},
	"socket twice":       {"listen: [unix:/a, unix:/a]\n", `h.yaml:1: listen[1]: "unix:/a" is taken by listen[0] ("unix:/a"): want an address of its own`},
	"ops on control":     {"ops: {listen: \"localhost:7400\"}\n", `h.yaml:1: ops.listen: "localhost:7400" is taken by control.listen ("127.0.0.1:7400"): want an address of its own`},
	"NATS on the client": {"listen: [\":4222\"]\n", `nats.listen: "127.0.0.1:4222" is taken by listen[0] (":4222"): want an address of its own`},
	"cert without key":   {"listen:\n- address: \":1\"\n  tls: {cert: a.pem}\n", `h.yaml:3: listen[0].tls: cert "a.pem", key "": want both`},
	"TLS without files":  {"listen: [{address: \":1\", tls: {}}]\n", `h.yaml:1: listen[0].tls: cert "", key "": want both`},
	"no such cert":       {"listen: [\":1?cert=a.pem&key=b.pem\"]\n", `h.yaml:1: listen[0].tls: open a.pem: no such file or directory`},
	"two buses":          {"nats:\n  url: nats://a:4222\n  listen: \":4222\"\n", `h.yaml:3: nats.listen: ":4222" is for the embedded server, and nats.url says to start none: want one of the two`},
	"NATS URL":           {"nats: {url: \"http://u:geheim@a:4222,nats://b\"}\n", `h.yaml:1: nats.url: "http://u:***@a:4222" is not a URL of a NATS server: want nats://host:port or tls://host:port, several joined by ","`},
	"two users":          {"nats: {url: \"nats://u:p@a\", credentials: h.yaml}\n", `h.yaml:1: nats.url: "nats://u:***@a" holds a user, and nats.credentials is set: want one of the two`},
	"no such creds":      {"nats: {url: \"nats://a\", credentials: b.creds}\n", `h.yaml:1: nats.credentials: "b.creds" cannot be read: no such file or directory`},
	"creds for our own":  {"nats: {credentials: b.creds}\n", `h.yaml:1: nats.credentials: "b.creds" is for an external server, and the embedded one is used: want nats.url as well`},
	"half a client cert": {"nats: {url: \"nats://a\", tls: {cert: h.yaml}}\n", `h.yaml:1: nats.tls: cert "h.yaml", key "": want both or none`},
	"outbox":             {"nats: {outbox: 1KiB}\n", `h.yaml:1: nats.outbox: 1KiB is out of range: want 64KiB to 4GiB`},
	"data directory":     {"data_dir: \"\"\n", `h.yaml:1: data_dir: empty: want a directory for the embedded NATS server`},
	"routes alone":       {"cluster: {routes: [\"a:6222\"]}\n", `h.yaml:1: cluster.routes: a:6222 is for a cluster, and there is none: want cluster.name as well`},
	"cluster port alone": {"cluster: {listen: \":7\"}\n", `h.yaml:1: cluster.listen: ":7" is for a cluster, and there is none: want cluster.name as well`},
	"external cluster":   {"nats: {url: \"nats://a\"}\ncluster: {name: x, routes: [\"a:1\"]}\n", `h.yaml:2: cluster.name: "x" is for embedded servers, and nats.url says to start none: want one of the two`},
	"cluster name":       {"cluster: {name: a.b, listen: \"127.0.0.1:1\", routes: [\"a:1\"]}\n", `h.yaml:1: cluster.name: "a.b" is not a name: want 1 to 64 of A-Z, a-z, 0-9, _ and -`},
	"no routes":          {"cluster: {name: x, listen: \"127.0.0.1:1\"}\n", `h.yaml:1: cluster.name: x, and cluster.routes is empty: want the addresses of all servers of the cluster, such as a:6222,b:6222,c:6222`},
	"no route":           {"cluster: {name: x, listen: \"127.0.0.1:1\", routes: [\"a:1\", \"nats://u:geheim@b:1\"]}\n", `h.yaml:1: cluster.routes[1]: "nats://u:***@b:1" is not the address of a server: want "host:port"`},
	"open cluster":       {"cluster: {name: x, routes: [\"a:1\"]}\n", `h.yaml:1: cluster.listen: ":6222" can be reached from other machines, and a cluster has neither secret nor TLS: want cluster.secret, cluster.tls, or a loopback address such as 127.0.0.1`},
	"weak secret":        {"cluster: {secret: geheim}\n", `h.yaml:1: cluster.secret: 6 characters are too few: want at least 16, such as those of "openssl rand -hex 32"`},
	"masked secret":      {"cluster: {secret: \"***\"}\n", `h.yaml:1: cluster.secret: "***" is what config show prints in the place of a secret: want the secret`},
	"two secrets":        {"cluster: {secret: 0123456789abcdef, secret_file: h.yaml}\n", `h.yaml:1: cluster.secret_file: "h.yaml", and cluster.secret is set: want one of the two`},
	"no such secret":     {"cluster: {secret_file: none}\n", `h.yaml:1: cluster.secret_file: "none" cannot be read: no such file or directory`},
	"cluster on NATS":    {"cluster: {name: x, listen: \"127.0.0.1:4222\", routes: [\"a:1\"]}\n", `h.yaml:1: cluster.listen: "127.0.0.1:4222" is taken by nats.listen ("127.0.0.1:4222"): want an address of its own`},
	"drain timeout":      {"drain: {timeout: 48h}\n", `h.yaml:1: drain.timeout: 48h is out of range: want 0s to 24h`},
	"drain delay":        {"drain: {delay: 61m}\n", `h.yaml:1: drain.delay: 1h1m is out of range: want 0s to 1h`},
	"log format":         {"log: {format: xml}\n", `h.yaml:1: log.format: "xml" is unknown: want text or json`},

	// Endpoints.
	"no endpoint":        {"endpoints: []\n", `h.yaml:1: endpoints: empty: want at least one, or no such key for the default endpoint "/"`},
	"relative path":      {"endpoints: [{path: chat}]\n", `h.yaml:1: endpoints[0].path: "chat" is not a path: want one that begins with "/", without white space, "?" and "#"`},
	"query":              {"endpoints: [{path: \"/a?b\"}]\n", `h.yaml:1: endpoints[0].path: "/a?b" is not a path: want one that begins with "/", without white space, "?" and "#"`},
	"dots":               {"endpoints: [{path: /a/../b//c/}]\n", `h.yaml:1: endpoints[0].path: "/a/../b//c/" is never asked for: want "/b/c/"`},
	"half wildcard":      {"endpoints: [{path: \"/{a\"}]\n", `h.yaml:1: endpoints[0].path: "/{a" is not a path: at offset 1: bad wildcard segment (must end with '}')`},
	"path twice":         {"endpoints: [{path: /a}, {path: /b}, {path: /a}]\n", `h.yaml:1: endpoints[2].path: "/a" is the path of endpoints[0]: want one of its own`},
	"default twice":      {"endpoints:\n- namespace: a\n- namespace: b\n", `h.yaml:3: endpoints[1].path: "/" is the path of endpoints[0]: want one of its own`},
	"same wildcard":      {"endpoints: [{path: \"/{a}\"}, {path: \"/{b}\"}]\n", `h.yaml:1: endpoints[1].path: "/{b}" conflicts with "/{a}" of endpoints[0]: want paths of which one is more specific where both match`},
	"crossing":           {"endpoints: [{path: \"/a/{x}\"}, {path: \"/{y}/b\"}]\n", `h.yaml:1: endpoints[1].path: "/{y}/b" conflicts with "/a/{x}" of endpoints[0]: want paths of which one is more specific where both match`},
	"every path":         {"endpoints: [{path: \"/{rest...}\"}]\n", `h.yaml:1: endpoints[0].path: "/{rest...}" would match every path: want at least one fixed segment before it, as in "/ws/{rest...}"`},
	"namespace":          {"endpoints: [{namespace: A.b}]\n", `h.yaml:1: endpoints[0].namespace: "A.b" is not a namespace: want 1 to 32 of a-z, 0-9, _ and -`},
	"subprotocol":        {"endpoints: [{subprotocols: [a b]}]\n", `h.yaml:1: endpoints[0].subprotocols[0]: "a b" is not a subprotocol: want an HTTP token, or "*" for whatever the client offers first`},
	"nothing to require": {"endpoints: [{subprotocol_required: true}]\n", `h.yaml:1: endpoints[0].subprotocol_required: true, and subprotocols is empty: want one there, or "*"`},
	"credential":         {"endpoints: [{subprotocols: [bearer.x]}]\n", `h.yaml:1: endpoints[0].subprotocols[0]: "bearer.x" is never chosen: what begins with "bearer." is a client's credential`},
	"origin":             {"endpoints:\n- origins:\n  - same-origin\n  - example.org\n", `h.yaml:4: endpoints[0].origins[1]: "example.org" is not an origin: want same-origin, https://example.org, https://*.example.org, "null" or "*"`},
	"origin twice":       {"endpoints: [{origins: [\"*\", \"*\"]}]\n", `h.yaml:1: endpoints[0].origins[1]: "*" stands there twice: want each once`},
	"admission":          {"endpoints: [{admission: {mode: all}}]\n", `h.yaml:1: endpoints[0].admission.mode: "all" is unknown: want none, jwt or backend`},
	"admission timeout":  {"endpoints: [{admission: {mode: backend, backend: {timeout: 9ms}}}]\n", `h.yaml:1: endpoints[0].admission.backend.timeout: 9ms is out of range: want 10ms to 1m`},
	"long admission":     {"endpoints: [{admission: {mode: backend, backend: {timeout: 11s}}}]\n", `h.yaml:1: endpoints[0].admission.backend.timeout: 11s is longer than a handshake may take: want at most clients.handshake_timeout, 10s`},
	"other admission":    {"endpoints: [{admission: {backend: {timeout: 2s}}}]\n", `h.yaml:1: endpoints[0].admission.backend.timeout: 2s is for mode backend, and the mode is none`},
	"compression":        {"endpoints: [{compression: {enabled: deflate}}]\n", `h.yaml:1: endpoints[0].compression.enabled: "deflate" is text: want true or false`},
	"compression level":  {"endpoints: [{compression: {level: 10}}]\n", `h.yaml:1: endpoints[0].compression.level: 10 is out of range: want 1 to 9`},
	"server window":      {"endpoints: [{compression: {server_max_window_bits: 7}}]\n", `h.yaml:1: endpoints[0].compression.server_max_window_bits: 7 is out of range: want 8 to 15`},
	"client window":      {"endpoints: [{compression: {client_max_window_bits: 16}}]\n", `h.yaml:1: endpoints[0].compression.client_max_window_bits: 16 is out of range: want 8 to 15`},
	"compression memory": {"clients: {compression_memory: 1MiB}\n", `h.yaml:1: clients.compression_memory: 1MiB is out of range: want 16MiB to 1024GiB`},
	"driver":             {"clients: {driver: kqueue}\n", `h.yaml:1: clients.driver: "kqueue" is unknown: want epoll or portable`},
	"threshold":          {"endpoints: [{compression: {threshold: 2GiB}}]\n", `h.yaml:1: endpoints[0].compression.threshold: 2GiB is out of range: want 0B to 1GiB`},
	"short interval":     {"endpoints: [{heartbeat: {interval: 99ms}}]\n", `h.yaml:1: endpoints[0].heartbeat.interval: 99ms is out of range: want 0s for none, or 100ms to 24h`},
	"no timeout":         {"endpoints: [{heartbeat: {timeout: 0s}}]\n", `h.yaml:1: endpoints[0].heartbeat.timeout: 0s is out of range: want 100ms to 24h`},
	"message size":       {"endpoints: [{limits: {message_size: 65MiB}}]\n", `h.yaml:1: endpoints[0].limits.message_size: 65MiB is out of range: want 1B to 64MiB`},
	"frame size":         {"endpoints: [{limits: {frame_size: 65MiB}}]\n", `h.yaml:1: endpoints[0].limits.frame_size: 65MiB is out of range: want 0B to 64MiB`},
	"fragments":          {"endpoints: [{limits: {fragments: 0}}]\n", `h.yaml:1: endpoints[0].limits.fragments: 0 is out of range: want 1 to 16777216`},
	"send queue":         {"endpoints: [{limits: {send_queue: 0B}}]\n", `h.yaml:1: endpoints[0].limits.send_queue: 0B is out of range: want 1KiB to 1GiB`},
	"queue length":       {"endpoints: [{limits: {send_queue_messages: -1}}]\n", `h.yaml:1: endpoints[0].limits.send_queue_messages: -1 is out of range: want 1 to 16777216`},
	"policy":             {"endpoints: [{limits: {send_queue_policy: drop}}]\n", `h.yaml:1: endpoints[0].limits.send_queue_policy: "drop" is unknown: want reject, close or drop_oldest`},
	"max pause":          {"endpoints: [{limits: {max_pause: 0s}}]\n", `h.yaml:1: endpoints[0].limits.max_pause: 0s is out of range: want 1ms to 24h`},
	"close timeout":      {"endpoints: [{limits: {close_timeout: 2h}}]\n", `h.yaml:1: endpoints[0].limits.close_timeout: 2h is out of range: want 100ms to 1h`},
	"idle timeout":       {"endpoints: [{limits: {idle_timeout: 999ms}}]\n", `h.yaml:1: endpoints[0].limits.idle_timeout: 999ms is out of range: want 0s for none, or 1s to 24h`},
	"max lifetime":       {"endpoints: [{limits: {max_lifetime: 8761h}}]\n", `h.yaml:1: endpoints[0].limits.max_lifetime: 8761h is out of range: want 0s for none, or 1s to 8760h`},
	"too many":           {"endpoints: [{limits: {connections: -1}}]\n", `h.yaml:1: endpoints[0].limits.connections: -1 is out of range: want 0 to 16777216`},
	"of one address":     {"endpoints: [{limits: {connections_per_ip: -1}}]\n", `h.yaml:1: endpoints[0].limits.connections_per_ip: -1 is out of range: want 0 to 16777216`},
	"new ones":           {"endpoints: [{limits: {new_connections: 16777217}}]\n", `h.yaml:1: endpoints[0].limits.new_connections: 16777217 is out of range: want 0 to 16777216`},
	"many messages":      {"clients: {messages_per_ip: -1}\n", `h.yaml:1: clients.messages_per_ip: -1 is out of range: want 0 to 16777216`},
	"many bytes":         {"clients: {bytes_per_ip: 65GiB}\n", `h.yaml:1: clients.bytes_per_ip: 65GiB is out of range: want 0B to 64GiB`},
	"no name":            {"namespaces: [{}]\n", `h.yaml:1: namespaces[0].name: "" is the namespace of no endpoint: want default`},
	"no such namespace":  {"namespaces: [{name: a}]\nendpoints: [{namespace: b}, {path: /c, namespace: c}]\n", `h.yaml:1: namespaces[0].name: "a" is the namespace of no endpoint: want b or c`},
	"namespace twice":    {"namespaces:\n- name: default\n- name: default\n", `h.yaml:3: namespaces[1].name: "default" is the name of namespaces[0]: want each once`},
	"of a namespace":     {"namespaces: [{name: default, limits: {connections: -1}}]\n", `h.yaml:1: namespaces[0].limits.connections: -1 is out of range: want 0 to 16777216`},
	"of a user":          {"namespaces: [{name: default, limits: {connections_per_user: -1}}]\n", `h.yaml:1: namespaces[0].limits.connections_per_user: -1 is out of range: want 0 to 16777216`},
	"namespace rate":     {"namespaces: [{name: default, rates: {messages: -1}}]\n", `h.yaml:1: namespaces[0].rates.messages: -1 is out of range: want 0 to 16777216`},
	"user rate":          {"namespaces: [{name: default, rates: {bytes_per_user: 65GiB}}]\n", `h.yaml:1: namespaces[0].rates.bytes_per_user: 65GiB is out of range: want 0B to 64GiB`},
	"namespace policy":   {"namespaces: [{name: default, rates: {policy: close}}]\n", `h.yaml:1: namespaces[0].rates.policy: unknown key: known here are messages, bytes, messages_per_user, bytes_per_user`},
	"message rate":       {"endpoints: [{rates: {messages: -1}}]\n", `h.yaml:1: endpoints[0].rates.messages: -1 is out of range: want 0 to 16777216`},
	"byte rate":          {"endpoints: [{rates: {bytes: 65GiB}}]\n", `h.yaml:1: endpoints[0].rates.bytes: 65GiB is out of range: want 0B to 64GiB`},
	"control rate":       {"endpoints: [{rates: {control_frames: -1}}]\n", `h.yaml:1: endpoints[0].rates.control_frames: -1 is out of range: want 0 to 16777216`},
	"rate policy":        {"endpoints: [{rates: {policy: drop}}]\n", `h.yaml:1: endpoints[0].rates.policy: "drop" is unknown: want wait or close`},
	"unknown event":      {"endpoints: [{events: [open, message, close, error]}]\n", `h.yaml:1: endpoints[0].events[3]: "error" is unknown: want open, message, close, ping or pong`},
	"event left out":     {"endpoints: [{events: [open, message]}]\n", `h.yaml:1: endpoints[0].events: [open, message] leaves out close: open, message and close cannot be left out; ping and pong can be added`},
	"attribute":          {"endpoints: [{event_attributes: [\"a:b\"]}]\n", `h.yaml:1: endpoints[0].event_attributes[0]: "a:b" is not an attribute for events: want an HTTP token, for it becomes the header Holdfast-Attr-<name>`},
	"header":             {"endpoints: [{keep_headers: [\"\"]}]\n", `h.yaml:1: endpoints[0].keep_headers[0]: "" is not the name of a header: want an HTTP token, such as User-Agent`},
}

func TestRefusals(t *testing.T) {
	for name, c := range refusals {
		t.Run(name, func(t *testing.T) {
			_, err := loadText(t, c.file)
			if err == nil || err.Error() != c.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, c.want)
			}
		})
	}
}

func TestUnreadableFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Load(Sources{File: "none.yaml"})
	if err == nil || err.Error() != "none.yaml: no such file or directory" {
		t.Error(err)
	}
	cert, key := writeCertificate(t)
	if _, err := loadText(t, "listen: [\":1?cert="+key+"&key="+key+"\"]\n"); err == nil || !strings.HasPrefix(err.Error(), "h.yaml:1: listen[0].tls: ") {
		t.Errorf("a key for a certificate: %v", err)
	}
	_, err = loadText(t, "listen: [\":1?cert="+cert+"&key="+key+"&client_ca="+key+"\"]\n")
	if want := "h.yaml:1: listen[0].tls: client_ca: " + key + " holds no PEM certificate"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// writeCertificate makes a self-signed certificate.
func writeCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8)
}
