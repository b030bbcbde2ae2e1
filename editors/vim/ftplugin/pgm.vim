" Settings for .pgm models. `:make` checks the model, and `:copen` lists what is wrong with it.
if exists('b:did_ftplugin')
  finish
endif
let b:did_ftplugin = 1
setlocal commentstring=//\ %s comments=s1:/*,mb:*,ex:*/,:// shiftwidth=2 expandtab
setlocal makeprg=pgmc\ check\ % errorformat=%f:%l:%c:\ %trror:\ %m,%f:%l:%c:\ %tarning:\ %m,%f:%l:%c:\ %tote:\ %m,%-G%.%#
let b:undo_ftplugin = 'setlocal commentstring< comments< shiftwidth< expandtab< makeprg< errorformat<'
