"""The words that are one token each: everyday English, number words, and words usual as answers to medical questions."""

from __future__ import annotations

from itertools import chain

_EVERYDAY = """
able above across act add after again against age ago air all allow almost along already also always among amount and angle animal
another any apart apple arch are area around arrow art as ask at away baby back bad bag ball band bank base basket bath be beach bean
bear beat because become before begin behind bell belong below bend best better between beyond big bird bit bite black blank blind
block blow blue board boat body bone book border both bottle bottom bowl box branch bread break bridge brief bright bring broad brown
brush build bus busy but button buy by cake call calm camp can candle cap car card care carry cart case cat catch cause cave center
chain chair chalk chance change cheap cheese child choice choose circle city class clay clean clear climb clock close cloth cloud coal
coast coat coffee coin cold color come common contain cook cool copy corner correct cost cotton count country cover cow crowd crown
cry cup curve cut daily dance danger dark day deep deer desk did difference different dinner direct dirty dish do dog door dot double
down draw dream dress drink drive drop drum dry duck dust each ear early earth east easy eat edge egg eight empty end engine enough
enter equal even evening ever every exact example eye face fact fade fair fall false family far farm fast fat feather feel fence few
field fill find fine finger fire first fish five flag flat floor flow flower fly fold follow food foot for force forest form four fox
free fresh friend from front fruit full game garden gate gentle get gift give glass go goat gold good grain grass gray great green
grid ground group grow guess half hall hand happy hard has hat have hay he head hear heat heavy here hide high hill hit hold hole home
honey hope horn horse hot hour house how huge ice idea if image in inch include ink inner inside into iron is island it item jar join
joint jump just keep key kind king kite knee knife know lady lake lamp land large last late laugh law lead leaf learn least leave left
leg lemon less let letter level library lid lie lift light like line lion list little live local lock long look loose loud love low
lower lunch machine main make man map mark market match may me meal mean meat medium meet melt metal middle milk mill mind minor
minute mirror mix money month moon more morning most mouse mouth move much mud music must my nail name narrow near neat need needle
nest net never new next nice night nine no nobody noise none north nose not note nothing now number nut oak object ocean odd of off
often oil old on once one only open option or orange order other our out outer outside oven over own page paint pair paper park part
party pass past paste path pattern pen pencil people pepper photo pick picture piece pig pin pink pipe place plain plan plant plate
play please plenty point pond pool poor pot potato pour press pretty price proper pull purple push put quarter queen question quick
quiet rabbit rain raise rare read ready real red rest rice rich ride right ring rise river road rock roll roof room root rope rose
rough round row rub rule run sad safe sail salt same sand save saw say scene school sea seat second see seed seem sell send set seven
several shade shadow shallow shape share sharp she sheep sheet shelf shell shine ship shirt shoe shop short should show shown side
sign silk silver simple since sing single six skin sky sleep slight slip slow small smoke smooth snake snow so soap soft soil some
song sort sound soup south space spare speak spoon spot spread spring square stair stamp stand star start state station stay steam
steel step stick still stone stop store storm story straight strange straw stream street strong such sugar suit summer sun sure sweet
swim table tail take tall taste tea teach team tell ten tent test than that the their them then there these they thick thin thing
think third this thread three through throw thumb ticket tie tight time tiny to today together tool top total touch tower town toy
trade train tree triangle trip truck true try turn twice two type under unit until up upon upper use usual valley value very view
visible voice wagon wait walk wall want warm wash watch water wave way we weak wear weather week weight well west wet what wheel when
where whether which while white who whole why wide wild win wind window wing winter wire wise with within without wolf wood wool word
work world worth wrong yard year yellow yes yet you young your zero zone
"""

_LABELS = """
abnormal abnormality absent abscess acute adenoma adrenal air airway anatomical anatomy aneurysm angiography aorta appears artery atrophy
atelectasis axial bacterial basal benign bilateral bladder bleed bleeding blood body bone bones bowel brain breast bronchus calcification
calcified cancer carcinoma cardiac cardiomegaly cell cells central cerebral cervical chest chronic class classify colon complete compressed
consolidation contour contrast coronal cortex covid CT cyst cystic degree dense density dermoscopy describes diagnosis diffuse dilated
disc disease displaced distal early edema effusion elbow endoscopy enhancement enlarged evidence examination exists extensive extent eye
fatty femur fibrosis finding findings first flair fluid focal follow foot form fracture fractured fundus gallbladder given glioma grade
growth hand head healthy heart hematoma hemorrhage hernia high hip histology human hyperdense hypodense identify illustrated imaging
increased indicate infarct infection inferior inflammation injury intact invasive irregular ischemic isolated joint kidney knee
laterality lateral lesion likely liver lobe location low lumbar lung lungs lymph malignant margin mass medial melanoma meningioma mild
mitosis modality moderate MR MRI multiple muscle myopathy negative neck necrosis neoplasm nerve nevus nodule normal obvious OCT occlusion
optic organ outline ovary pancreas partial pathology pathological patient pelvis peripheral PET pituitary plaque pleural pneumonia
pneumothorax polyp positive posterior anterior present presence primary prostate proximal radiograph rectum region regular renal retina
retinopathy rib ribs sagittal scan sclerosis secondary segment sever severe severity shoulder signal sinus skull slice solid solitary
spiculated spine spleen stage status stenosis stomach stone stroke structure superior suspicious swelling symptom syndrome T1 T2 teeth
thickened thorax thyroid tissue tooth trachea trauma tuberculosis tumor tumour ulcer ultrasound unilateral unremarkable urinary US uterus
vascular vein ventricle vessel vessels viral wrist x-ray X-ray XRAY x ray acquired answer based classified condition demonstrate depicts
describe detected determine examined following label labelled observed options please provided question represent representation seen
select shows statement suggest technique visualised visualized
"""

_CAPITALISED = """
A All Answer Are Based Can Choose Classify Decide Describe Determine Does For From Given Has How Identify Image In Is It Its Judge Left Look Mark
Name No Normal Note Of On One Only Option Pick Please Point Read Right Say Select Show State Tell The There This What Where Which Who Yes You
None Mild Moderate Severe Benign Malignant Present Absent Abnormal Positive Negative Lung Brain Liver Kidney Breast Chest Bone Heart Skin Eye
Cancer Tumor Mass Cyst Nodule Lesion Pneumonia Fracture Hemorrhage Healthy Disease Other
"""

_NUMBERS = "0 1 2 3 4 5 6 7 8 9 10 11 12 16 20 50 100"


def read_words() -> tuple[str, ...]:
    """List every word of the lexicon once, sorted; letters of options, numbers and capitalised forms included.

    >>> "left" in read_words(), "spiculated" in read_words()
    (True, True)
    """
    parts = (_EVERYDAY, _LABELS, _CAPITALISED, _NUMBERS)
    return tuple(sorted(set(chain.from_iterable(part.split() for part in parts))))
