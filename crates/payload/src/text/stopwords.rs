//! Words too frequent to say anything, by language.
//!
//! It refuses to guess for a language without a list: those words are given by the user.

use super::Language;

/// The list of a language, lower case; `None` where there is none.
pub(super) fn of(language: Language) -> Option<&'static str> {
    Some(match language {
        Language::English => ENGLISH,
        Language::German => GERMAN,
        Language::French => FRENCH,
        Language::Spanish => SPANISH,
        Language::Italian => ITALIAN,
        Language::Portuguese => PORTUGUESE,
        Language::Dutch => DUTCH,
        _ => return None,
    })
}

const ENGLISH: &str = "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its itself they \
    them their theirs themselves what which who whom this that these those am is are was were be been being have has had having do does did doing a an the \
    and but if or because as until while of at by for with about against between into through during before after above below to from up down in out on \
    off over under again further then once here there when where why how all any both each few more most other some such no nor not only own same so than \
    too very s t can will just don should now d ll m o re ve y ain aren couldn didn doesn hadn hasn haven isn ma mightn mustn needn shan shouldn wasn \
    weren won wouldn";

const GERMAN: &str = "aber alle allem allen aller alles als also am an ander andere anderem anderen anderer anderes auch auf aus bei bin bis bist da damit \
    dann das dass dasselbe dazu dein deine deinem deinen deiner dem den denn der derer derselbe des dessen dich die dies diese dieselbe diesem diesen \
    dieser dieses dir doch dort du durch ein eine einem einen einer eines einig einige einigem einigen einiger einiges einmal er es etwas euch euer eure \
    eurem euren eurer für gegen gewesen hab habe haben hat hatte hatten hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer ihres im in indem \
    ins ist jede jedem jeden jeder jedes jene jenem jenen jener jenes jetzt kann kein keine keinem keinen keiner keines können könnte machen man manche \
    manchem manchen mancher manches mein meine meinem meinen meiner meines mich mir mit muss musste nach nicht nichts noch nun nur ob oder ohne sehr sein \
    seine seinem seinen seiner seines selbst sich sie sind so solche solchem solchen solcher solches soll sollte sondern sonst über um und uns unser \
    unsere unserem unseren unserer unter viel vom von vor während war waren warst was weg weil weiter welche welchem welchen welcher welches wenn werde \
    werden wie wieder will wir wird wirst wo wollen wollte würde würden zu zum zur zwar zwischen";

const FRENCH: &str = "à ai aie aient aies ait as au aura aurai auraient aurais aurait auras aurez auriez aurions aurons auront aux avaient avais avait avec \
    avez aviez avions avons ayant ayez ayons c ce ceci cela ces cet cette d dans de des du elle elles en es est et étaient étais était étant été êtes \
    étiez étions eu eue eues eurent eus eut eux eût fûmes furent fus fut fût il ils j je l la le les leur leurs lui m ma mais me même mes moi mon n ne \
    ni nos notre nous on ont ou où par pas pour qu que quel quelle quelles quels qui s sa sans se sera serai seraient serais serait seras serez seriez \
    serions serons seront ses si soi soient sois soit sommes son sont soyez soyons suis sur t ta te tes toi ton tu un une vos votre vous y";

const SPANISH: &str = "a al algo algunas algunos ante antes como con contra cual cuando de del desde donde durante e el él ella ellas ellos en entre era \
    erais eran eras eres es esa esas ese eso esos esta está estaba estaban estado estamos están estar estas este esto estos estoy fue fueron fui ha había \
    habían han has hasta hay he la las le les lo los más me mi mí mis mucho muchos muy nada ni no nos nosotras nosotros nuestra nuestras nuestro nuestros \
    o os otra otras otro otros para pero poco por porque que qué quien quienes se sea sean ser si sí sido sin sobre sois somos son soy su sus suya suyo \
    también tanto te tenemos tener tengo ti tiene tienen todo todos tu tú tus tuya tuyo un una uno unos vosotras vosotros vuestra vuestras vuestro \
    vuestros y ya yo";

const ITALIAN: &str = "a abbia abbiamo abbiano ad agli ai al alla alle allo anche avere aveva avevano avete avevo c che chi ci coi col come con contro cui \
    da dagli dai dal dalla dalle dallo degli dei del dell della delle dello di dov dove e è ed era erano eravamo ero essere faccio fai fanno fare fu \
    furono fui gli ha hai hanno ho i il in io l la le lei li lo loro lui ma mi mia mie miei mio ne negli nei nel nell nella nelle nello noi non nostra \
    nostre nostri nostro o per perché più quale quanta quante quanti quanto quella quelle quelli quello questa queste questi questo sarà saranno se sei \
    si sia siamo siano siete sono sta stai stanno sto su sua sue sugli sui sul sull sulla sulle sullo suo suoi ti tra tu tua tue tuo tuoi tutti tutto un \
    una uno vi voi vostra vostre vostri vostro";

const PORTUGUESE: &str = "a à ao aos aquela aquelas aquele aqueles aquilo as às até com como da das de dela delas dele deles depois do dos e é ela elas ele \
    eles em entre era eram essa essas esse esses esta está estamos estão estas estava estavam este estes estou eu foi fomos for foram fui há haja hão hei \
    houve isso isto já la lhe lhes lo mais mas me mesmo meu meus minha minhas muito na não nas nem no nos nós nossa nossas nosso nossos num numa o os ou \
    para pela pelas pelo pelos por qual quando que quem se seja sejam sem ser será serão seria seu seus só sou sua suas também te tem têm temos tenha \
    tenho ter teu teus tinha tinham tu tua tuas um uma você vocês vos";

const DUTCH: &str = "aan al alles als altijd andere ben bij daar dan dat de der deze die dit doch doen door dus een eens en er ge geen geweest haar had heb \
    hebben heeft hem het hier hij hoe hun iemand iets ik in is ja je kan kon kunnen maar me meer men met mij mijn moet na naar niet niets nog nu of om \
    omdat onder ons ook op over reeds te tegen toch toen tot u uit uw van veel voor want waren was wat werd wezen wie wil worden wordt zal ze zelf zich \
    zij zijn zo zonder zou";
