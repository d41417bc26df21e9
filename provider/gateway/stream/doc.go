// Package stream carries frames in both directions over WebSocket connections
// that may break: what was sent arrives once and in order, whichever of several
// connections in a row it goes over.
//
// Start with [Stream]: each end has one, calls [Stream.Send] and [Stream.Recv],
// and runs one connection at a time with [Attachment.Run]. The gateway uses it
// for logs, events and shells.
//
// # Protocol
//
// Every message is binary; its first byte is a [Code], the rest the payload, at
// most [MaxPayload] bytes. Codes below 120 are data; those of the shell are the
// reference network's:
//
//	100 stdout    server: bytes
//	101 stderr    server: bytes
//	102 result    server, last: JSON {"exit_code":0}
//	103 failure   server, last: JSON {"error":{"code","message"}}
//	104 stdin     client: bytes
//	105 resize    client: width, height of the terminal, two big-endian uint16
//	106 eof       client: standard input ends
//	107 records   server: JSON documents, each ended by a newline; one may go on
//	              in the next frame
//	120 hello     server, first on each connection: JSON [Hello]
//	121 ack       both: big-endian uint64
//	122 bye       client: it will not come back; the server ends the stream
//
// Each end counts the data frames it sends, from 1; the number is not on the
// wire. An ack says how many data frames its sender has worked through. An end
// may have [Window] bytes of payload under way that are not yet acknowledged and
// then waits, so that a slow reader costs a bounded amount of memory and holds
// up only itself. A receiver acknowledges at least each quarter of the window,
// and the last frame at once.
//
// A client that lost its connection asks for the same address again with
// stream=ID and received=N added to the query: the ID from the hello and the
// number of data frames it has received. The server's hello says how many it has
// received, and both send again what is missing. The stream waits for that for
// the hello's grace time; afterwards the answer is 410.
//
// The server ends a stream with a result or a failure and closes the connection
// normally once that is acknowledged.
package stream
