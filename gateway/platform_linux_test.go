package gateway_test

const canHandOver = true
