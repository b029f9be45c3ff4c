// Package file lets devices send files (IoT Hub: upload files). A device asks for a grant, sends the file to the signed URL in it, and says
// how that went; a notification for services is queued then.
//
//	Begin ──▶ a grant: correlation id, signed URL for writing one blob ──▶ hub/blobdoor writes it ──▶ Done ──▶ a notification
//
// Invariants:
//   - a blob's name begins with its device's id and a slash; a grant is for that one blob, for writing only, and ends when its upload is
//     done, its time is over, or its device is disabled or deleted, whichever is first;
//   - a device has at most ten open uploads (403006 DeviceMaximumActiveFileUploadLimitExceeded);
//   - an upload counts as done when its blob is whole and durable; until then Done refuses to say so;
//   - saying twice that an upload is done queues one notification;
//   - a notification is durable when Done returns, one reader has it at a time, and it stays until somebody completes it or its time is over.
//
// Links are signed with a key of the hub's that no API shows.
//
// Run owns the only goroutine here: once a minute it takes away what is over. Everything else is called by doors, from any goroutine.
package file
