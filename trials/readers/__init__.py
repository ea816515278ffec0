"""Every reader of untrusted bytes, given damaged and hostile ones. `corpus/` keeps whatever once broke one of them."""
