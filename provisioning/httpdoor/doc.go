// Package httpdoor answers HTTPS for provisioning services: devices that register, as Azure's provisioning device SDKs speak it, and
// operators, as azure-iot-provisioning-service does (DPS: device REST API 2019-03-31 and later; service REST API 2021-10-01).
//
//	PUT /{scope}/registrations/{r}/register     GET /{scope}/registrations/{r}/operations/{o}     POST /{scope}/registrations/{r}
//	PUT, GET, DELETE /enrollments/{r}, /enrollmentGroups/{g}     POST .../attestationmechanism     POST .../query     POST /enrollments
//	GET, DELETE /registrations/{r}     POST /registrations/{g}/query
//	GET /isthmus/v1/provisioning                      name, id scope, host names, hubs
//	PUT, DELETE /isthmus/v1/linkedhubs/{host}         {"connectionString": "..", "allocationWeight": 1}; the string is never shown
//	GET /isthmus/v1/certificates     PUT, DELETE /isthmus/v1/certificates/{c}     POST .../verificationcode, .../verify
//	POST /isthmus/v1/policies/{p}/keys                {"renew": "primary|secondary"}
//
// The handler of a local socket, for whoever may open it, asks for no token and also serves
//
//	GET /isthmus/v1/policies/{p}                      a connection string
//
// It is a handler and not a server: connections, and who may speak to which service at all, are its caller's business. A route returns
// its error; one function writes it, in the envelope of Azure's service, by provisioning.CodeOf.
//
// The door holds no state and starts no goroutines.
package httpdoor
