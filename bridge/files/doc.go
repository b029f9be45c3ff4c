// Package files is the destinations of bridges that are files: blobs in a container, objects in a bucket, files on a disk of the process. It
// makes JSON lines, CSV (RFC 4180), Parquet or plain bodies of events, and names each file by a template and by the first event in it.
//
// What always holds:
//
//   - A file is whole or not there. On a disk it is written beside, made durable and renamed; a blob is one request, or blocks that are nothing
//     until their list; an object appears when its writer is closed.
//   - All files of a lane are written in one flush, and each is named by its first event, so a file that is written again after a crash has
//     the same name and takes the place of the one before, whatever flush it is in: every row is in the files once, as long as nobody takes them
//     away in between. Rows are marked all the same (isthmus_origin, isthmus_repeat), but for those of windows, whose start, end and
//     groups say what they are, and for the format raw.
//   - Rows of tumbling and hopping windows of different ends are in different files; those of sessions share them.
//   - An event that cannot become a row is refused, and nothing of it is anywhere.
//   - Whatever values a path is made of, it stays below its folder or container: everything but letters, digits and - _ . = @ + , is
//     percent-encoded, no part of it begins or ends with a dot, and long parts are cut and told apart by a hash.
//
// A file grows until it is as old, large or long as its spec says, and by at most one batch beyond. Rows wait in memory up to 4 MiB a lane,
// and in a file below the bridge's folder; what waits there is of no use after a restart and is removed, since the bridge reads it again.
// A file is put together in a stream, a Parquet file in groups of rows of 16 MiB.
//
// In a JSON line without columns a body that is no object stands as the member value. A disk is written to below the folders that the process
// was told of, and not through links that lead elsewhere.
//
// The package starts no goroutines but those of the libraries of object stores, which end with the call that started them.
package files
