# The native build: `core` holds every room below Node-API, `gaplessdb` is the addon around it.
# Source lists come from scripts/sources.mjs, so a new .cc file needs no edit here. No -march flag is set for
# all files: code that needs newer instructions carries a target attribute and is chosen at run time.
{
  "target_defaults": {
    "cflags!": ["-O3", "-Wno-unused-parameter"],
    "cflags_cc!": ["-std=gnu++14", "-std=gnu++17", "-std=gnu++20"],
    "cflags": ["-O2", "-fPIC", "-fvisibility=hidden", "-pthread", "-g"],
    "cflags_cc": [
      "-std=c++20", "-fno-exceptions", "-fno-rtti", "-fvisibility-inlines-hidden",
      "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"
    ],
    "include_dirs": ["native"],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
      "GCC_ENABLE_CPP_EXCEPTIONS": "NO",
      "GCC_ENABLE_CPP_RTTI": "NO",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES"
    }
  },
  "targets": [
    {
      "target_name": "core",
      "type": "static_library",
      "standalone_static_library": 1,
      "sources": ["<!@(node scripts/sources.mjs core)"]
    },
    {
      "target_name": "gaplessdb",
      "dependencies": ["core"],
      "sources": ["<!@(node scripts/sources.mjs addon)"],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS"],
      "cflags_cc": ["-isystem", "<!(node -p \"require('path').resolve(require('node-addon-api').include_dir)\")"],
      "conditions": [
        ["OS=='mac'", { "include_dirs": ["<!(node -p \"require('path').resolve(require('node-addon-api').include_dir)\")"] }]
      ]
    }
  ]
}
