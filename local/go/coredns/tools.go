// SPDX-License-Identifier: GPL-3.0-or-later

//go:build tools

// Package tools pins the CoreDNS that local/node-image.sh builds.
package tools

import _ "github.com/coredns/coredns"
